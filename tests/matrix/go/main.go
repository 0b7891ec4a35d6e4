// Kafka clients of Go against a broker: one scenario, an adapter for each client. Each fact seen is a line of JSON.
//
//	matrix CLIENT BOOTSTRAP NAME
//
// NAME is the topic and the group, and the beginning of the names of more topics; NAME-python-CODEC are there
// already. After the facts "restart" and "kill" the program waits for a line on its input: the broker goes away meanwhile.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	clientID  = "matrix"
	patience  = 30 * time.Second
	sent      = 300 // records to three partitions before the restart
	sentLater = 30  // and after it
	base      = int64(1_600_000_000_000)
)

var codecs = []string{"gzip", "snappy", "lz4", "zstd"}

type record struct {
	Partition int
	Offset    int64
	Time      int64
	Key       []byte // nil: null, as the value
	Value     []byte
	Headers   [][2]string
}

// client is what the scenario asks of a client of Kafka; producers wait for all replicas, and are idempotent if they can be.
type client interface {
	create(topic string, partitions int, config map[string]string) error
	topics() (map[string]int, error) // how many partitions each has
	produce(codec, topic string, records []record) ([]record, error)
	read(topic string, partition, count int) ([]record, error)
	join(group, topic string) (member, error)
	assigned(group, topic string) ([][]int, error) // the partitions of each member, as the coordinator tells
	committed(group, topic string) (map[int]int64, error)
	at(topic string, partition int, time int64) (int64, error)
	administer(name string) []step
	remove(topic string) error
	code(err error) int // Kafka's number of an error; 0 if it is none of Kafka's
	close()
}

type member interface {
	next() ([]record, error)
	commit() error // all that next has given
	leave() error
}

func main() {
	makers := map[string]func(string) client{"franz-go": newFranz, "sarama": newSarama, "kafka-go": newSegmentio}
	if len(os.Args) != 4 || makers[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: matrix franz-go|sarama|kafka-go BOOTSTRAP NAME")
		os.Exit(2)
	}
	c, name := makers[os.Args[1]](os.Args[2]), os.Args[3]
	defer c.close()
	topics(c, name)
	compression(c, name)
	content(c, name)
	times(c, name)
	refusals(c, name)
	group(c, name)
	pause("restart")
	resume(c, name)
	through(c, name)
	administer(c, name)
	removal(c, name)
}

var input = bufio.NewReader(os.Stdin)

// pause asks for something to be done to the broker, and waits until it is.
func pause(what string) {
	tell(what, true)
	must(input.ReadString('\n'))
}

func tell(fact string, seen any) {
	line, err := json.Marshal(map[string]any{"fact": fact, "seen": seen})
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

// value is the content of a record of the topics of codecs, as the test's own.
func value(number int) []byte {
	return []byte(fmt.Sprintf("%d:", number) + strings.Repeat("abcdefgh", number*37%200))
}

func topics(c client, name string) {
	check(c.create(name, 3, nil))
	again := c.code(c.create(name, 3, nil))
	tell("created", map[string]any{"partitions": must(c.topics())[name], "again": again})
}

func compression(c client, name string) {
	for _, codec := range codecs {
		var records []record
		for number := range 60 {
			records = append(records, record{Value: value(number)})
		}
		own := name + "-" + codec
		check(c.create(own, 1, nil))
		places := must(c.produce(codec, own, records))
		tell("codec-"+codec, map[string]any{
			"offsets": []int64{places[0].Offset, places[59].Offset},
			"own":     same(must(c.read(own, 0, 60))),
			"python":  same(must(c.read(name+"-python-"+codec, 0, 60))),
		})
	}
}

func same(records []record) bool {
	for number, one := range records {
		if one.Offset != int64(number) || !bytes.Equal(one.Value, value(number)) {
			return false
		}
	}
	return len(records) == 60
}

func content(c client, name string) {
	topic := name + "-content"
	check(c.create(topic, 1, nil))
	_, err := c.produce("none", topic, []record{
		{Time: base, Key: []byte("k"), Value: []byte("v"), Headers: [][2]string{{"trace", "one"}, {"span", "two"}}},
		{Time: base + 1, Key: []byte("gone")},
		{Time: base + 2, Key: []byte{}, Value: []byte{}},
		{Time: base + 3, Value: []byte("no key")},
	})
	check(err)
	text := func(some []byte) any {
		if some == nil {
			return nil
		}
		return string(some)
	}
	var seen []any
	for _, one := range must(c.read(topic, 0, 4)) {
		headers := append([][2]string{}, one.Headers...) // none is [], not null
		seen = append(seen, []any{one.Time - base, text(one.Key), text(one.Value), headers})
	}
	tell("content", seen)
}

func times(c client, name string) {
	topic := name + "-times"
	check(c.create(topic, 1, nil))
	var records []record
	for number := range int64(10) {
		records = append(records, record{Time: base + number*1000, Value: []byte("v")})
	}
	_, err := c.produce("none", topic, records)
	check(err)
	tell("times", []int64{must(c.at(topic, 0, base)), must(c.at(topic, 0, base+4500)), must(c.at(topic, 0, base+9000))})
}

func refusals(c client, name string) {
	_, unknown := c.produce("none", name+"-unknown", []record{{Value: []byte("v")}})
	topic := name + "-small"
	check(c.create(topic, 1, map[string]string{"max.message.bytes": "2000"}))
	_, large := c.produce("none", topic, []record{{Value: bytes.Repeat([]byte("x"), 5000)}})
	tell("refusals", map[string]int{"unknown topic": c.code(unknown), "too large": c.code(large)})
}

// spread makes records for three partitions in turn.
func spread(from, count int) []record {
	var records []record
	for number := from; number < from+count; number++ {
		text := []byte(fmt.Sprint(number))
		records = append(records, record{Partition: number % 3, Key: text, Value: text})
	}
	return records
}

func group(c client, name string) {
	members := []member{must(c.join(name, name)), must(c.join(name, name))}
	read := make(chan []record)
	done := make(chan bool)
	for index, one := range members {
		go func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				records := must(one.next())
				for at := range records {
					records[at].Headers = [][2]string{{"member", fmt.Sprint(index)}}
				}
				read <- records
			}
		}()
	}
	var records []record
	take := func(until func() bool, what string) {
		deadline := time.Now().Add(patience)
		for !until() {
			if time.Now().After(deadline) {
				panic("waited for " + what)
			}
			select {
			case some := <-read:
				records = append(records, some...)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	var shares [][]int
	take(func() bool {
		shares, _ = c.assigned(name, name)
		return len(shares) == 2 && len(slices.Concat(shares...)) == 3 && len(shares[0])*len(shares[1]) > 0
	}, "a share of the partitions for each member")
	early := len(records)
	places := must(c.produce("none", name, spread(0, sent)))
	take(func() bool { return len(records) >= sent }, "all records")
	close(done)
	for _, one := range members {
		check(one.commit())
	}
	tell("group", map[string]any{
		"early": early, "produced": byPartition(places), "read": byPartition(records),
		"shares": sorted(shares), "readers": readers(records), "committed": must(c.committed(name, name)),
	})
	go func() {
		for range read { // what a reader still has to say is nothing
		}
	}()
	for _, one := range members {
		check(one.leave())
	}
}

// byPartition is the first and the last offset of the records of each partition; they must come in a row, each once.
func byPartition(records []record) map[int][]int64 {
	seen := map[int][]int64{}
	for _, one := range records {
		bounds, found := seen[one.Partition]
		if !found {
			seen[one.Partition] = []int64{one.Offset, one.Offset}
			continue
		}
		if one.Offset != bounds[1]+1 {
			panic(fmt.Sprintf("offset %d after %d in partition %d", one.Offset, bounds[1], one.Partition))
		}
		bounds[1] = one.Offset
	}
	return seen
}

func sorted(shares [][]int) [][]int {
	for _, share := range shares {
		slices.Sort(share)
	}
	slices.SortFunc(shares, slices.Compare[[]int])
	return shares
}

// readers is the share of each member, as the records it got tell.
func readers(records []record) [][]int {
	shares := map[string][]int{}
	for _, one := range records {
		who := one.Headers[0][1]
		if !slices.Contains(shares[who], one.Partition) {
			shares[who] = append(shares[who], one.Partition)
		}
	}
	var all [][]int
	for _, share := range shares {
		all = append(all, share)
	}
	return sorted(all)
}

func resume(c client, name string) {
	before := must(c.committed(name, name))
	places := must(c.produce("none", name, spread(sent, sentLater)))
	one := must(c.join(name, name))
	var records []record
	for deadline := time.Now().Add(patience); len(records) < sentLater; {
		if time.Now().After(deadline) {
			panic("waited for the records after the restart")
		}
		records = append(records, must(one.next())...)
	}
	check(one.commit())
	check(one.leave())
	tell("resumed", map[string]any{
		"before": before, "produced": byPartition(places), "read": byPartition(records),
		"committed": must(c.committed(name, name)),
	})
}

// through sends all the time while the broker is killed: what of it is lost, and what is there twice.
func through(c client, name string) {
	topic, sent, stop := name+"-through", make(chan int), make(chan bool)
	check(c.create(topic, 1, nil))
	batch := func(from int) []record {
		var records []record
		for number := from; number < from+10; number++ {
			records = append(records, record{Value: []byte(fmt.Sprint(number))})
		}
		return must(c.produce("none", topic, records))
	}
	go func() {
		defer close(sent)
		for number := 0; ; number += 10 {
			batch(number)
			select {
			case sent <- number + 10:
			case <-stop:
				return
			}
		}
	}()
	for range 10 {
		<-sent
	}
	killed := make(chan bool)
	go func() {
		pause("kill")
		close(killed)
	}()
	before, last := 0, 0
	for waiting := true; waiting; {
		select {
		case last = <-sent:
		case <-killed:
			before, waiting = last, false
		}
	}
	for last < before+100 {
		last = <-sent
	}
	close(stop)
	for range sent { // it may have sent one more batch, which is not counted but judged
	}
	end := batch(1_000_000)[0].Offset
	seen, ordered := map[string]int{}, true
	for _, one := range must(c.read(topic, 0, int(end)))[:end] { // a read may give what comes after
		seen[string(one.Value)]++
		ordered = ordered && string(one.Value) == fmt.Sprint(one.Offset)
	}
	lost, twice := 0, 0
	for number := range last {
		switch times := seen[fmt.Sprint(number)]; {
		case times == 0:
			lost++
		case times > 1:
			twice++
		}
	}
	tell("through", map[string]any{"lost": lost, "twice": twice, "ordered": ordered})
}

func removal(c client, name string) {
	check(c.remove(name))
	found := true // kafka-go answers what it saw a moment ago
	for deadline := time.Now().Add(patience); found && time.Now().Before(deadline); {
		_, found = must(c.topics())[name]
	}
	tell("removed", !found)
}
