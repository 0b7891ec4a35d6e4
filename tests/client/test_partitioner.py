import pytest

from rafka.client.partitioner import murmur2, partition_of


# From the tests of Kafka's own clients (UtilsTest.testMurmur2), as Java's signed ints.
@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_hash_is_the_one_java_computes(key, signed):
    assert murmur2(key) == signed % (1 << 32)


def test_the_empty_key_has_a_hash():
    assert murmur2(b"") == 275646681


def test_a_key_goes_where_java_puts_it():
    assert partition_of(b"foobar", 1) == 0
    assert partition_of(b"abc", 7) == 479470107 % 7
    assert partition_of(b"21", 10) == (-973932308 & 0x7FFFFFFF) % 10
