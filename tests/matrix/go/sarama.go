package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct {
	bootstrap []string
	client    sarama.Client
	admin     sarama.ClusterAdmin
	producers map[string]sarama.SyncProducer
}

func newSarama(bootstrap string) client {
	s := &saramaClient{bootstrap: []string{bootstrap}, producers: map[string]sarama.SyncProducer{}}
	s.client = must(sarama.NewClient(s.bootstrap, settings()))
	s.admin = must(sarama.NewClusterAdmin(s.bootstrap, settings()))
	return s
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.ClientID = clientID
	config.Net.MaxOpenRequests = 1
	config.Metadata.AllowAutoTopicCreation = false
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Retry.Max = 200 // a hundred milliseconds apart: the broker is gone for a second or two
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	return config
}

func (s *saramaClient) create(topic string, partitions int, config map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for key, value := range config {
		detail.ConfigEntries[key] = &value
	}
	return s.admin.CreateTopic(topic, detail, false)
}

func (s *saramaClient) topics() (map[string]int, error) {
	found, err := s.admin.ListTopics()
	counts := map[string]int{}
	for topic, detail := range found {
		counts[topic] = int(detail.NumPartitions)
	}
	return counts, err
}

func (s *saramaClient) produce(codec, topic string, records []record) ([]record, error) {
	if s.producers[codec] == nil {
		config := settings()
		check(config.Producer.Compression.UnmarshalText([]byte(codec)))
		s.producers[codec] = must(sarama.NewSyncProducer(s.bootstrap, config))
	}
	var messages []*sarama.ProducerMessage
	for _, one := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: int32(one.Partition)}
		if one.Key != nil {
			message.Key = sarama.ByteEncoder(one.Key)
		}
		if one.Value != nil {
			message.Value = sarama.ByteEncoder(one.Value)
		}
		if one.Time != 0 {
			message.Timestamp = time.UnixMilli(one.Time)
		}
		for _, header := range one.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header[0]), Value: []byte(header[1])})
		}
		messages = append(messages, message)
	}
	if err := s.producers[codec].SendMessages(messages); err != nil {
		var several sarama.ProducerErrors
		if errors.As(err, &several) {
			return nil, several[0].Err
		}
		return nil, err
	}
	places := append([]record{}, records...)
	for index, message := range messages {
		places[index].Offset = message.Offset
	}
	return places, nil
}

func fromSarama(message *sarama.ConsumerMessage) record {
	made := record{
		Partition: int(message.Partition), Offset: message.Offset, Time: message.Timestamp.UnixMilli(),
		Key: message.Key, Value: message.Value,
	}
	for _, header := range message.Headers {
		made.Headers = append(made.Headers, [2]string{string(header.Key), string(header.Value)})
	}
	return made
}

func (s *saramaClient) read(topic string, partition, count int) ([]record, error) {
	consumer := must(sarama.NewConsumer(s.bootstrap, settings()))
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(topic, int32(partition), sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var all []record
	late := time.After(patience)
	for len(all) < count {
		select {
		case message := <-reader.Messages():
			all = append(all, fromSarama(message))
		case err := <-reader.Errors():
			return nil, err
		case <-late:
			return nil, errors.New("waited for records of " + topic)
		}
	}
	return all, nil
}

type saramaMember struct {
	group    sarama.ConsumerGroup
	cancel   context.CancelFunc
	messages chan *sarama.ConsumerMessage
	sessions chan sarama.ConsumerGroupSession
	session  sarama.ConsumerGroupSession
	ended    chan error
	taken    []*sarama.ConsumerMessage
}

func (s *saramaClient) join(group, topic string) (member, error) {
	joined, err := sarama.NewConsumerGroup(s.bootstrap, group, settings())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &saramaMember{
		group: joined, cancel: cancel, ended: make(chan error, 1),
		messages: make(chan *sarama.ConsumerMessage), sessions: make(chan sarama.ConsumerGroupSession, 100),
	}
	go func() {
		for ctx.Err() == nil {
			if err := joined.Consume(ctx, []string{topic}, m); err != nil {
				m.ended <- err
				return
			}
		}
		m.ended <- nil
	}()
	return m, nil
}

func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	m.sessions <- session
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.messages <- message
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *saramaMember) next() ([]record, error) {
	select {
	case message := <-m.messages:
		m.taken = append(m.taken, message)
		return []record{fromSarama(message)}, nil
	case err := <-m.group.Errors():
		return nil, err
	case <-time.After(100 * time.Millisecond):
		return nil, nil
	}
}

func (m *saramaMember) commit() error {
	for len(m.sessions) > 0 {
		m.session = <-m.sessions
	}
	for _, message := range m.taken {
		m.session.MarkMessage(message, "")
	}
	m.session.Commit()
	return nil
}

func (m *saramaMember) leave() error {
	m.cancel()
	return errors.Join(<-m.ended, m.group.Close())
}

func (s *saramaClient) assigned(group, topic string) ([][]int, error) {
	groups, err := s.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return nil, err
	}
	var shares [][]int
	for _, one := range groups[0].Members {
		assignment, err := one.GetMemberAssignment()
		if err != nil {
			return nil, err
		}
		var share []int
		if assignment != nil {
			for _, number := range assignment.Topics[topic] {
				share = append(share, int(number))
			}
		}
		shares = append(shares, share)
	}
	return shares, nil
}

func (s *saramaClient) committed(group, topic string) (map[int]int64, error) {
	found, err := s.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2}})
	if err != nil {
		return nil, err
	}
	all := map[int]int64{}
	for partition, block := range found.Blocks[topic] {
		all[int(partition)] = block.Offset
	}
	return all, nil
}

func (s *saramaClient) at(topic string, partition int, time int64) (int64, error) {
	return s.client.GetOffset(topic, int32(partition), time)
}

func (s *saramaClient) remove(topic string) error { return s.admin.DeleteTopic(topic) }

func (s *saramaClient) code(err error) int {
	var known sarama.KError
	if errors.As(err, &known) {
		return int(known)
	}
	return 0
}

func (s *saramaClient) close() {
	for _, one := range s.producers {
		one.Close()
	}
	s.admin.Close()
	s.client.Close()
}
