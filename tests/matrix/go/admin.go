package main

import (
	"context"
	"errors"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
)

var retention = "1234567" // milliseconds; what each sets the topic's retention.ms to

// administer changes what can be changed of a topic and its group of nobody, as far as the client can; the group is gone then.
func administer(c client, name string) {
	seen := map[string]any{}
	for _, step := range c.administer(name) {
		seen[step.what] = must(step.do())
	}
	tell("administered", seen)
}

type step struct {
	what string
	do   func() (any, error)
}

func (f *franz) administer(name string) []step {
	ctx, one := context.Background(), kadm.TopicsSet{}
	one.Add(name, 0)
	at := func(offset int64) kadm.Offsets {
		var all kadm.Offsets
		all.AddOffset(name, 0, offset, -1)
		return all
	}
	return []step{
		{"brokers", func() (any, error) {
			found, err := f.admin.BrokerMetadata(ctx)
			return len(found.Brokers), err
		}},
		{"group listed", func() (any, error) {
			found, err := f.admin.ListGroups(ctx)
			_, listed := found[name]
			return listed, err
		}},
		{"retention", func() (any, error) {
			wanted := kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: &retention}
			done, err := f.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{wanted}, name)
			check(errors.Join(err, done[0].Err))
			found, err := f.admin.DescribeTopicConfigs(ctx, name)
			for _, config := range found[0].Configs {
				if config.Key == "retention.ms" {
					return config.MaybeValue(), err
				}
			}
			return nil, err
		}},
		{"partitions", func() (any, error) {
			done, err := f.admin.UpdatePartitions(ctx, 5, name)
			check(errors.Join(err, done.Error()))
			counts, err := f.topics()
			return counts[name], err
		}},
		{"low watermark", func() (any, error) {
			done, err := f.admin.DeleteRecords(ctx, at(10))
			check(err)
			return done[name][0].LowWatermark, done[name][0].Err
		}},
		{"log size", func() (any, error) {
			found, err := f.admin.DescribeAllLogDirs(ctx, one)
			size := int64(0)
			found.Each(func(directory kadm.DescribedLogDir) { size += directory.Size() })
			return size > 0, err
		}},
		{"moving", func() (any, error) {
			found, err := f.admin.ListPartitionReassignments(ctx, one)
			return len(found), err
		}},
		{"set to", func() (any, error) {
			_, err := f.admin.CommitOffsets(ctx, name, at(7))
			check(err)
			found, err := f.committed(name, name)
			return found[0], err
		}},
		{"forgotten", func() (any, error) {
			done, err := f.admin.DeleteOffsets(ctx, name, one)
			check(errors.Join(err, done.Error()))
			found, err := f.committed(name, name)
			_, known := found[0]
			return !known, err
		}},
		{"group removed", func() (any, error) {
			_, err := f.admin.DeleteGroup(ctx, name)
			check(err)
			found, err := f.admin.ListGroups(ctx)
			_, listed := found[name]
			return !listed, err
		}},
	}
}

func (s *saramaClient) administer(name string) []step {
	return []step{
		{"brokers", func() (any, error) {
			brokers, _, err := s.admin.DescribeCluster()
			return len(brokers), err
		}},
		{"group listed", func() (any, error) {
			found, err := s.admin.ListConsumerGroups()
			_, listed := found[name]
			return listed, err
		}},
		{"retention", func() (any, error) {
			wanted := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &retention}
			entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": wanted}
			check(s.admin.IncrementalAlterConfig(sarama.TopicResource, name, entries, false))
			found, err := s.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: name, ConfigNames: []string{"retention.ms"}})
			check(err)
			return found[0].Value, nil
		}},
		{"partitions", func() (any, error) {
			check(s.admin.CreatePartitions(name, 5, nil, false))
			counts, err := s.topics()
			return counts[name], err
		}},
		{"low watermark", func() (any, error) {
			check(s.admin.DeleteRecords(name, map[int32]int64{0: 10}))
			return s.client.GetOffset(name, 0, sarama.OffsetOldest)
		}},
		{"log size", func() (any, error) {
			found, err := s.admin.DescribeLogDirs([]int32{1})
			check(err)
			size := int64(0)
			for _, topic := range found[1][0].Topics {
				for _, partition := range topic.Partitions {
					size += partition.Size
				}
			}
			return size > 0, nil
		}},
		{"moving", func() (any, error) {
			found, err := s.admin.ListPartitionReassignments(name, []int32{0})
			return len(found), err
		}},
		{"set to", func() (any, error) {
			wanted := map[string]map[int32]sarama.OffsetAndMetadata{name: {0: {Offset: 7, LeaderEpoch: -1}}}
			done, err := s.admin.AlterConsumerGroupOffsets(name, wanted, nil)
			check(err)
			if code := done.Errors[name][0]; code != sarama.ErrNoError {
				return nil, code
			}
			found, err := s.committed(name, name)
			return found[0], err
		}},
		{"forgotten", func() (any, error) {
			check(s.admin.DeleteConsumerGroupOffset(name, name, 0))
			found, err := s.committed(name, name)
			return found[0] == -1, err
		}},
		{"group removed", func() (any, error) {
			check(s.admin.DeleteConsumerGroup(name))
			found, err := s.admin.ListConsumerGroups()
			_, listed := found[name]
			return !listed, err
		}},
	}
}

func (s *segmentio) administer(name string) []step {
	ctx := context.Background()
	listed := func() (bool, error) {
		found, err := s.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
		check(err)
		for _, one := range found.Groups {
			if one.GroupID == name {
				return true, found.Error
			}
		}
		return false, found.Error
	}
	return []step{
		{"brokers", func() (any, error) {
			found, err := s.client.Metadata(ctx, &kafka.MetadataRequest{})
			check(err)
			return len(found.Brokers), nil
		}},
		{"group listed", func() (any, error) { return listed() }},
		{"retention", func() (any, error) {
			_, err := s.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
				Resources: []kafka.IncrementalAlterConfigsRequestResource{{
					ResourceType: kafka.ResourceTypeTopic, ResourceName: name,
					Configs: []kafka.IncrementalAlterConfigsRequestConfig{
						{Name: "retention.ms", Value: retention, ConfigOperation: kafka.ConfigOperationSet},
					},
				}},
			})
			check(err)
			found, err := s.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
				Resources: []kafka.DescribeConfigRequestResource{
					{ResourceType: kafka.ResourceTypeTopic, ResourceName: name, ConfigNames: []string{"retention.ms"}},
				},
			})
			check(err)
			return found.Resources[0].ConfigEntries[0].ConfigValue, found.Resources[0].Error
		}},
		{"partitions", func() (any, error) {
			done, err := s.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
				Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: 5}},
			})
			check(errors.Join(err, done.Errors[name]))
			return 5, nil
		}},
		{"set to", func() (any, error) {
			_, err := s.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
				GroupID: name, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{name: {{Partition: 0, Offset: 7}}},
			})
			check(err)
			found, err := s.committed(name, name)
			return found[0], err
		}},
		{"forgotten", func() (any, error) {
			done, err := s.client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: name, Topics: map[string][]int{name: {0}}})
			check(errors.Join(err, done.Error))
			found, err := s.committed(name, name)
			return found[0] == -1, err
		}},
		{"group removed", func() (any, error) {
			done, err := s.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{name}})
			check(errors.Join(err, done.Errors[name]))
			found, err := listed()
			return !found, err
		}},
	}
}
