package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

type segmentio struct {
	bootstrap string
	client    *kafka.Client
	transport *kafka.Transport
	dialer    *kafka.Dialer
	writers   map[string]*kafka.Writer
}

func newSegmentio(bootstrap string) client {
	transport := &kafka.Transport{ClientID: clientID, MetadataTTL: 100 * time.Millisecond}
	return &segmentio{
		bootstrap: bootstrap,
		transport: transport,
		client:    &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: patience, Transport: transport},
		dialer:    &kafka.Dialer{ClientID: clientID, Timeout: patience},
		writers:   map[string]*kafka.Writer{},
	}
}

// again asks anew where the connection was closed: only so does this client learn that a broker has gone and come back,
// and it may keep several connections.
func again[T any](ask func() (T, error)) (answer T, err error) {
	for range 5 {
		if answer, err = ask(); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
			break
		}
	}
	return
}

func (s *segmentio) create(topic string, partitions int, config map[string]string) error {
	wanted := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for key, value := range config {
		wanted.ConfigEntries = append(wanted.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	made, err := s.client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	if err != nil {
		return err
	}
	return made.Errors[topic]
}

func (s *segmentio) topics() (map[string]int, error) {
	found, err := again(func() (*kafka.MetadataResponse, error) {
		return s.client.Metadata(context.Background(), &kafka.MetadataRequest{})
	})
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, topic := range found.Topics {
		counts[topic.Name] = len(topic.Partitions)
	}
	return counts, nil
}

// places gathers where the messages of one call went, from the callback of a writer.
type places struct {
	mutex    sync.Mutex
	messages []kafka.Message
}

// byHand sends a message where its WriterData says; that comes back with its offset.
func byHand(message kafka.Message, _ ...int) int { return message.WriterData.(record).Partition }

func (s *segmentio) produce(codec, topic string, records []record) ([]record, error) {
	kinds := map[string]kafka.Compression{
		"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}
	if s.writers[codec] == nil {
		s.writers[codec] = &kafka.Writer{
			Addr: kafka.TCP(s.bootstrap), Transport: s.transport, Balancer: kafka.BalancerFunc(byHand),
			RequiredAcks: kafka.RequireAll, Compression: kinds[codec], BatchTimeout: 20 * time.Millisecond,
			BatchSize: 1000, MaxAttempts: 100, WriteBackoffMax: 300 * time.Millisecond,
		}
	}
	writer, seen := s.writers[codec], &places{}
	writer.Completion = func(messages []kafka.Message, _ error) {
		seen.mutex.Lock()
		defer seen.mutex.Unlock()
		seen.messages = append(seen.messages, messages...)
	}
	var messages []kafka.Message
	for _, one := range records {
		message := kafka.Message{Topic: topic, Key: one.Key, Value: one.Value, WriterData: one}
		if one.Time != 0 {
			message.Time = time.UnixMilli(one.Time)
		}
		for _, header := range one.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: header[0], Value: []byte(header[1])})
		}
		messages = append(messages, message)
	}
	if err := writer.WriteMessages(context.Background(), messages...); err != nil {
		var several kafka.WriteErrors
		if errors.As(err, &several) {
			return nil, several[0]
		}
		return nil, err
	}
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	var all []record
	for _, message := range seen.messages {
		all = append(all, fromSegmentio(message))
	}
	return all, nil
}

func fromSegmentio(message kafka.Message) record {
	made := record{
		Partition: message.Partition, Offset: message.Offset, Time: message.Time.UnixMilli(),
		Key: message.Key, Value: message.Value,
	}
	for _, header := range message.Headers {
		made.Headers = append(made.Headers, [2]string{header.Key, string(header.Value)})
	}
	return made
}

func (s *segmentio) reader(config kafka.ReaderConfig) *kafka.Reader {
	config.Brokers = []string{s.bootstrap}
	config.Dialer = s.dialer
	config.MaxWait = 200 * time.Millisecond
	return kafka.NewReader(config)
}

func (s *segmentio) read(topic string, partition, count int) ([]record, error) {
	reader := s.reader(kafka.ReaderConfig{Topic: topic, Partition: partition})
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all []record
	for len(all) < count {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, fromSegmentio(message))
	}
	return all, nil
}

type segmentioMember struct {
	reader *kafka.Reader
	taken  []kafka.Message
}

func (s *segmentio) join(group, topic string) (member, error) {
	return &segmentioMember{reader: s.reader(kafka.ReaderConfig{
		GroupID: group, Topic: topic, HeartbeatInterval: 200 * time.Millisecond, StartOffset: kafka.FirstOffset,
		JoinGroupBackoff: 200 * time.Millisecond,
	})}, nil
}

func (m *segmentioMember) next() ([]record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	message, err := m.reader.FetchMessage(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) { // nothing now; has left
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m.taken = append(m.taken, message)
	return []record{fromSegmentio(message)}, nil
}

func (m *segmentioMember) commit() error {
	return m.reader.CommitMessages(context.Background(), m.taken...)
}

func (m *segmentioMember) leave() error { return m.reader.Close() }

func (s *segmentio) assigned(group, topic string) ([][]int, error) {
	found, err := s.client.DescribeGroups(context.Background(), &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return nil, err
	}
	var shares [][]int
	for _, one := range found.Groups[0].Members {
		var share []int
		for _, part := range one.MemberAssignments.Topics {
			share = append(share, part.Partitions...)
		}
		shares = append(shares, share)
	}
	return shares, found.Groups[0].Error
}

func (s *segmentio) committed(group, topic string) (map[int]int64, error) {
	found, err := again(func() (*kafka.OffsetFetchResponse, error) {
		return s.client.OffsetFetch(context.Background(), &kafka.OffsetFetchRequest{
			GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}},
		})
	})
	if err != nil {
		return nil, err
	}
	all := map[int]int64{}
	for _, one := range found.Topics[topic] {
		all[one.Partition] = one.CommittedOffset
	}
	return all, found.Error
}

func (s *segmentio) at(topic string, partition int, when int64) (int64, error) {
	found, err := s.client.ListOffsets(context.Background(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.TimeOffsetOf(partition, time.UnixMilli(when))}},
	})
	if err != nil {
		return 0, err
	}
	for offset := range found.Topics[topic][0].Offsets {
		return offset, nil
	}
	return -1, found.Topics[topic][0].Error
}

func (s *segmentio) remove(topic string) error {
	done, err := again(func() (*kafka.DeleteTopicsResponse, error) {
		return s.client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	})
	if err != nil {
		return err
	}
	return done.Errors[topic]
}

func (s *segmentio) code(err error) int {
	var known kafka.Error
	if errors.As(err, &known) {
		return int(known)
	}
	var large kafka.MessageTooLargeError
	if errors.As(err, &large) {
		return int(kafka.MessageSizeTooLarge)
	}
	return 0
}

func (s *segmentio) close() {
	for _, one := range s.writers {
		one.Close()
	}
	s.transport.CloseIdleConnections()
}
