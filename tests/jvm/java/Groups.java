import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Classic consumer groups with the Java consumer: every assignor, static members, commits, fencing. */
final class Groups {
    static final int PARTITIONS = 4;
    private final Driver driver;
    private String topic;

    Groups(Driver driver) {
        this.driver = driver;
    }

    /** A member and what its rebalance listener was told. */
    final class Member implements ConsumerRebalanceListener, AutoCloseable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final List<Set<Integer>> assigned = new ArrayList<>();
        final List<Set<Integer>> revoked = new ArrayList<>();
        final List<Set<Integer>> lost = new ArrayList<>();
        final List<Integer> read = new ArrayList<>();
        boolean commits;

        Member(String group, String assignor, Object... pairs) {
            Object[] all = java.util.Arrays.copyOf(pairs, pairs.length + 8);
            System.arraycopy(new Object[] {"group.id", driver.prefix + group, "partition.assignment.strategy",
                "org.apache.kafka.clients.consumer." + assignor, "heartbeat.interval.ms", 100, "session.timeout.ms", 10_000},
                0, all, pairs.length, 8);
            consumer = driver.consumer(all);
            consumer.subscribe(List.of(topic), this);
        }

        @Override public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assigned.add(numbers(partitions));
        }

        @Override public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            revoked.add(numbers(partitions));
            if (commits) {
                consumer.commitSync(); // in the middle of a rebalance, as the client's manual advises
            }
        }

        @Override public void onPartitionsLost(Collection<TopicPartition> partitions) {
            lost.add(numbers(partitions));
        }

        Set<Integer> holds() {
            return numbers(consumer.assignment());
        }

        void poll() {
            consumer.poll(Duration.ofMillis(50)).forEach(record -> read.add(Integer.parseInt(Driver.text(record.value()))));
        }

        @Override public void close() {
            consumer.close();
        }
    }

    static Set<Integer> numbers(Collection<TopicPartition> partitions) {
        Set<Integer> all = new TreeSet<>();
        partitions.forEach(one -> all.add(one.partition()));
        return all;
    }

    static void balance(int[] sizes, Member... members) throws Exception {
        Driver.until("members hold " + java.util.Arrays.toString(sizes), () -> {
            boolean reached = true;
            for (int i = 0; i < members.length; i++) {
                members[i].poll();
            }
            for (int i = 0; i < members.length; i++) {
                reached &= members[i].holds().size() == sizes[i];
            }
            return reached;
        });
    }

    void all() throws Exception {
        topic = driver.topic("grouped", PARTITIONS);
        try (KafkaProducer<byte[], byte[]> producer = driver.producer()) {
            for (int number = 0; number < 400; number++) {
                producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, Driver.bytes("" + number)));
            }
        }
        for (String assignor : new String[] {"RangeAssignor", "RoundRobinAssignor", "StickyAssignor"}) {
            driver.check(assignor, facts -> eager(facts, assignor));
        }
        driver.check("cooperative", this::cooperative);
        driver.check("static", this::staticMembers);
        driver.check("commits", this::commits);
        driver.check("late", this::late);
        driver.check("offsets of nobody", this::simple);
        driver.check("new protocol", this::newProtocol);
    }

    private void eager(Map<String, Object> facts, String assignor) throws Exception {
        try (Member first = new Member(assignor, assignor, "max.poll.records", 20)) {
            first.commits = true;
            balance(new int[] {4}, first);
            List<Integer> read = new ArrayList<>();
            try (Member second = new Member(assignor, assignor, "max.poll.records", 20)) {
                second.commits = true;
                balance(new int[] {2, 2}, first, second);
                Set<Integer> union = new TreeSet<>(first.holds());
                union.addAll(second.holds());
                facts.put("two", union);
                read = second.read;
            }
            balance(new int[] {4}, first);
            List<Integer> others = read;
            Driver.until("all is read", () -> {
                first.poll();
                return first.read.size() + others.size() >= 400;
            });
            Set<Integer> distinct = new TreeSet<>(first.read);
            distinct.addAll(others);
            facts.put("read", List.of(first.read.size() + others.size(), distinct.size()));
            facts.put("assigned", first.assigned.stream().map(Set::size).toList());
            facts.put("revoked", first.revoked.stream().map(Set::size).toList());
        }
    }

    private void cooperative(Map<String, Object> facts) throws Exception {
        String assignor = "CooperativeStickyAssignor";
        try (Member first = new Member(assignor, assignor)) {
            balance(new int[] {4}, first);
            try (Member second = new Member(assignor, assignor)) {
                balance(new int[] {2, 2}, first, second);
                facts.put("revoked", first.revoked.stream().map(Set::size).toList());
                facts.put("disjoint", java.util.Collections.disjoint(first.holds(), second.holds()));
                try (Member third = new Member(assignor, assignor)) {
                    Driver.until("three share four", () -> {
                        first.poll();
                        second.poll();
                        third.poll();
                        return first.holds().size() + second.holds().size() + third.holds().size() == 4 && third.holds().size() == 1;
                    });
                }
            }
            balance(new int[] {4}, first);
            facts.put("lost", first.lost);
        }
    }

    private void staticMembers(Map<String, Object> facts) throws Exception {
        String assignor = "RangeAssignor";
        Member second = new Member("static", assignor, "group.instance.id", "two");
        Member first = new Member("static", assignor, "group.instance.id", "one");
        balance(new int[] {2, 2}, first, second);
        Set<Integer> held = first.holds();
        int rebalances = second.assigned.size();
        String member = first.consumer.groupMetadata().memberId();
        first.close(); // a static member that leaves says nothing: its partitions stay its own
        Member again = new Member("static", assignor, "group.instance.id", "one");
        balance(new int[] {2, 2}, again, second);
        facts.put("same", held.equals(again.holds()));
        facts.put("rebalances of the other", second.assigned.size() - rebalances);
        facts.put("new member id", !member.equals(again.consumer.groupMetadata().memberId()));
        Member twin = new Member("static", assignor, "group.instance.id", "one");
        balance(new int[] {2, 2}, twin, second);
        facts.put("fenced", Driver.thrown(() -> {
            Driver.until("the first holder of the name is fenced", () -> {
                again.poll();
                return false;
            });
            return null;
        }));
        again.close();
        twin.close();
        second.close();
    }

    private void commits(Map<String, Object> facts) throws Exception {
        TopicPartition zero = new TopicPartition(topic, 0);
        try (Member member = new Member("commits", "RangeAssignor", "max.poll.records", 10)) {
            balance(new int[] {4}, member);
            facts.put("before", member.consumer.committed(Set.of(zero)).get(zero));
            member.consumer.commitSync(Map.of(zero, new OffsetAndMetadata(42, java.util.Optional.of(0), "why")));
            OffsetAndMetadata found = member.consumer.committed(Set.of(zero)).get(zero);
            facts.put("after", List.of(found.offset(), found.metadata(), found.leaderEpoch().orElse(-1)));
            String[] answer = new String[1];
            member.consumer.commitAsync(Map.of(zero, new OffsetAndMetadata(43)), (offsets, error) -> answer[0] = "" + error);
            Driver.until("the commit is answered", () -> {
                member.poll();
                return answer[0] != null;
            });
            facts.put("asynchronous", answer[0]);
        }
        try (Member member = new Member("commits", "RangeAssignor")) {
            balance(new int[] {4}, member);
            Driver.until("something is read", () -> {
                member.poll();
                return member.read.stream().anyMatch(number -> number % PARTITIONS == 0);
            });
            int first = member.read.stream().filter(number -> number % PARTITIONS == 0).findFirst().get();
            facts.put("resumes", first / PARTITIONS);
        }
    }

    /** A member that does not poll in time is put out; its commit then fails. */
    private void late(Map<String, Object> facts) throws Exception {
        Member member = new Member("late", "RangeAssignor", "max.poll.interval.ms", 500);
        balance(new int[] {4}, member);
        Thread.sleep(900); // its own heartbeat thread leaves the group after 500 ms
        facts.put("commit", Driver.thrown(() -> {
            member.consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1)));
            return null;
        }));
        balance(new int[] {4}, member);
        facts.put("lost or revoked", member.lost.size() + member.revoked.size());
        member.close();
    }

    private void simple(Map<String, Object> facts) {
        TopicPartition one = new TopicPartition(topic, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("group.id", driver.prefix + "simple")) {
            consumer.assign(List.of(one));
            consumer.commitSync(Map.of(one, new OffsetAndMetadata(7)));
            facts.put("committed", consumer.committed(Set.of(one)).get(one).offset());
            facts.put("position", consumer.position(one));
        }
    }

    private void newProtocol(Map<String, Object> facts) {
        try (KafkaConsumer<byte[], byte[]> consumer = driver.consumer("group.id", driver.prefix + "new", "group.protocol", "consumer")) {
            consumer.subscribe(List.of(topic));
            facts.put("error", Driver.thrown(() -> {
                Driver.until("the protocol is refused", () -> consumer.poll(Duration.ofMillis(100)).count() > 0);
                return null;
            }));
        }
    }
}
