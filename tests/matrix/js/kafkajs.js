import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'

const { AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
const RETRY = { retries: 6, initialRetryTime: 50, maxRetryTime: 500 }
let readers = 0

export class Client {
  wait = 200 // milliseconds that a fetch of a member waits for records

  constructor(bootstrap) {
    const common = { clientId: 'matrix', brokers: [bootstrap], logLevel: logLevel.ERROR }
    // One that gives up soon, as to be refused an unknown topic needs, and one that outlives a broker.
    const [kafka, patient] = [RETRY, { ...RETRY, retries: 100 }].map(retry => new Kafka({ ...common, retry }))
    const idempotent = { idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false }
    this.kafka = kafka
    this.admin = kafka.admin()
    this.producer = kafka.producer({ ...idempotent, retry: RETRY })
    this.patient = patient.producer({ ...idempotent, retry: { ...RETRY, retries: 100 } })
    this.ready = Promise.all([this.admin, this.producer, this.patient].map(one => one.connect()))
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
      groupId, heartbeatInterval: 200, sessionTimeout: 10_000, maxWaitTimeInMs: this.wait, allowAutoTopicCreation: false
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

  administer(name) {
    const { admin } = this
    const listed = async () => (await admin.listGroups()).groups.some(one => one.groupId === name)
    return {
      brokers: async () => (await admin.describeCluster()).brokers.length,
      'group listed': listed,
      retention: async () => {
        const resource = { type: ConfigResourceTypes.TOPIC, name }
        const configEntries = [{ name: 'retention.ms', value: '1234567' }]
        await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] })
        const found = await admin.describeConfigs({
          includeSynonyms: true, resources: [{ ...resource, configNames: ['retention.ms'] }]
        })
        return found.resources[0].configEntries[0].configValue
      },
      partitions: async () => {
        await admin.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] })
        return (await this.topics())[name]
      },
      'low watermark': async () => {
        await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '10' }] })
        const found = await admin.fetchTopicOffsets(name)
        return Number(found.find(one => one.partition === 0).low)
      },
      moving: async () =>
        (await admin.listPartitionReassignments({ topics: [{ topic: name, partitions: [0] }] })).topics.length,
      'set to': async () => {
        await admin.setOffsets({ groupId: name, topic: name, partitions: [{ partition: 0, offset: '7' }] })
        return (await this.committed(name, name))[0]
      },
      'group removed': async () => {
        await admin.deleteGroups([name])
        return !(await listed())
      }
    }
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
