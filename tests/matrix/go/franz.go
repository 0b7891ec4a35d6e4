package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct {
	bootstrap string
	producers map[string]*kgo.Client
	admin     *kadm.Client
}

func newFranz(bootstrap string) client {
	f := &franz{bootstrap: bootstrap, producers: map[string]*kgo.Client{}}
	f.admin = kadm.NewClient(f.new())
	return f
}

func (f *franz) new(options ...kgo.Opt) *kgo.Client {
	common := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.ClientID(clientID), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}
	return must(kgo.NewClient(append(common, options...)...))
}

func (f *franz) create(topic string, partitions int, config map[string]string) error {
	configs := map[string]*string{}
	for key, value := range config {
		configs[key] = &value
	}
	made, err := f.admin.CreateTopic(context.Background(), int32(partitions), 1, configs, topic)
	return errors.Join(err, made.Err)
}

func (f *franz) topics() (map[string]int, error) {
	found, err := f.admin.ListTopics(context.Background())
	counts := map[string]int{}
	for topic, detail := range found {
		counts[topic] = len(detail.Partitions)
	}
	return counts, err
}

func (f *franz) produce(codec, topic string, records []record) ([]record, error) {
	kinds := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	if f.producers[codec] == nil {
		f.producers[codec] = f.new(
			kgo.RequiredAcks(kgo.AllISRAcks()), // idempotence is the default
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(kinds[codec]),
			kgo.ProducerLinger(20*time.Millisecond),
		)
	}
	var out []*kgo.Record
	for _, one := range records {
		made := &kgo.Record{Topic: topic, Partition: int32(one.Partition), Key: one.Key, Value: one.Value}
		if one.Time != 0 {
			made.Timestamp = time.UnixMilli(one.Time)
		}
		for _, header := range one.Headers {
			made.Headers = append(made.Headers, kgo.RecordHeader{Key: header[0], Value: []byte(header[1])})
		}
		out = append(out, made)
	}
	results := f.producers[codec].ProduceSync(context.Background(), out...)
	return fromFranz(out), results.FirstErr()
}

func fromFranz(records []*kgo.Record) []record {
	var all []record
	for _, one := range records {
		made := record{
			Partition: int(one.Partition), Offset: one.Offset, Time: one.Timestamp.UnixMilli(),
			Key: one.Key, Value: one.Value,
		}
		for _, header := range one.Headers {
			made.Headers = append(made.Headers, [2]string{header.Key, string(header.Value)})
		}
		all = append(all, made)
	}
	return all
}

func (f *franz) read(topic string, partition, count int) ([]record, error) {
	start := map[int32]kgo.Offset{int32(partition): kgo.NewOffset().AtStart()}
	reader := f.new(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: start}))
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all []record
	for len(all) < count {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		all = append(all, fromFranz(fetches.Records())...)
	}
	return all, nil
}

type franzMember struct{ client *kgo.Client }

func (f *franz) join(group, topic string) (member, error) {
	return &franzMember{f.new(
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)}, nil
}

func (m *franzMember) next() ([]record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := m.client.PollFetches(ctx)
	if err := fetches.Err0(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kgo.ErrClientClosed) {
		return nil, err
	}
	return fromFranz(fetches.Records()), nil
}

func (m *franzMember) commit() error {
	return m.client.CommitUncommittedOffsets(context.Background())
}

func (m *franzMember) leave() error {
	m.client.Close()
	return nil
}

func (f *franz) assigned(group, topic string) ([][]int, error) {
	groups, err := f.admin.DescribeGroups(context.Background(), group)
	if err != nil {
		return nil, err
	}
	var shares [][]int
	for _, one := range groups[group].Members {
		var share []int
		if consumer, ok := one.Assigned.AsConsumer(); ok {
			for _, part := range consumer.Topics {
				for _, number := range part.Partitions {
					share = append(share, int(number))
				}
			}
		}
		shares = append(shares, share)
	}
	return shares, groups[group].Err
}

func (f *franz) committed(group, topic string) (map[int]int64, error) {
	found, err := f.admin.FetchOffsets(context.Background(), group)
	all := map[int]int64{}
	for partition, one := range found[topic] {
		all[int(partition)] = one.At
	}
	return all, err
}

func (f *franz) at(topic string, partition int, time int64) (int64, error) {
	found, err := f.admin.ListOffsetsAfterMilli(context.Background(), time, topic)
	if err != nil {
		return 0, err
	}
	one, _ := found.Lookup(topic, int32(partition))
	return one.Offset, one.Err
}

func (f *franz) remove(topic string) error {
	done, err := f.admin.DeleteTopic(context.Background(), topic)
	return errors.Join(err, done.Err)
}

func (f *franz) code(err error) int {
	var known *kerr.Error
	if errors.As(err, &known) {
		return int(known.Code)
	}
	return 0
}

func (f *franz) close() {
	f.admin.Close()
	for _, one := range f.producers {
		one.Close()
	}
}
