import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'

const { AssignerProtocol, CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
const RETRY = { retries: 6, initialRetryTime: 50, maxRetryTime: 500 }
let readers = 0

export class Client {
  constructor(bootstrap) {
    this.kafka = new Kafka({ clientId: 'matrix', brokers: [bootstrap], logLevel: logLevel.ERROR, retry: RETRY })
    this.admin = this.kafka.admin()
    const [producer, patient] = [RETRY, { ...RETRY, retries: 100 }].map(retry => this.kafka.producer({
      idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false, retry
    }))
    Object.assign(this, { producer, patient })
    this.ready = Promise.all([this.admin, producer, patient].map(one => one.connect()))
  }

  async create(topic, partitions, config = {}) {
    await this.ready
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const wanted = { topic, numPartitions: partitions, replicationFactor: 1, configEntries }
    // It says false of a topic that is there already, as the broker told by its error 36.
    if (!(await this.admin.createTopics({ topics: [wanted], waitForLeaders: true }))) {
      throw Object.assign(new Error('exists'), { code: 36 })
    }
  }

  async topics() {
    const { topics } = await this.admin.fetchTopicMetadata()
    return Object.fromEntries(topics.map(one => [one.name, one.partitions.length]))
  }

  async produce(codec, topic, records, patient = false) {
    const messages = records.map(({ partition, time, key, value, headers = [] }) => ({
      partition, key, value, timestamp: time && String(time), headers: Object.fromEntries(headers)
    }))
    const done = await (patient ? this.patient : this.producer).send({ topic, messages, acks: -1, compression: CODECS[codec] })
    return Object.fromEntries(done.map(({ partition, baseOffset }) => {
      const count = records.filter(one => one.partition === partition).length
      return [partition, [Number(baseOffset), Number(baseOffset) + count - 1]]
    }))
  }

  async read(topic, count) {
    const records = []
    let done
    const all = new Promise(resolve => { done = resolve })
    const reader = await this.join(`${topic}-reader-${readers++}`, topic, one => {
      if (records.push(one) === count) done()
    })
    await all
    await reader.leave()
    return records
  }

  async join(groupId, topic, take) {
    const consumer = this.kafka.consumer({
      groupId, heartbeatInterval: 200, sessionTimeout: 10_000, maxWaitTimeInMs: 200, allowAutoTopicCreation: false
    })
    const next = {}
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        next[partition] = Number(message.offset) + 1
        take({
          partition,
          offset: Number(message.offset),
          time: Number(message.timestamp),
          key: message.key,
          value: message.value,
          headers: Object.entries(message.headers).map(([key, value]) => [key, value.toString()])
        })
      }
    })
    return {
      commit: () => consumer.commitOffsets(
        Object.entries(next).map(([partition, at]) => ({ topic, partition: Number(partition), offset: String(at) }))
      ),
      leave: () => consumer.disconnect()
    }
  }

  async assigned(group, topic) {
    const { groups } = await this.admin.describeGroups([group])
    return groups[0].members.map(({ memberAssignment }) =>
      memberAssignment.length ? AssignerProtocol.MemberAssignment.decode(memberAssignment).assignment[topic] ?? [] : [])
  }

  async committed(groupId, topic) {
    const [found] = await this.admin.fetchOffsets({ groupId, topics: [topic] })
    return Object.fromEntries(found.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
  }

  async at(topic, time) {
    const [found] = await this.admin.fetchTopicOffsetsByTimestamp(topic, time)
    return Number(found.offset)
  }

  remove(topic) {
    return this.admin.deleteTopics({ topics: [topic] })
  }

  code(error) {
    for (let one = error; one; one = one.cause) if (one.code > 0) return one.code
    throw error
  }

  async close() {
    await Promise.all([this.admin, this.producer, this.patient].map(one => one.disconnect()))
  }
}
