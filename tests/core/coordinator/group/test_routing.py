from rafka.core.coordinator.group.routing import java_hash, partition_for


def test_the_hash_is_javas_string_hash_code() -> None:
    assert java_hash("") == 0
    assert java_hash("hello") == 99162322
    assert java_hash("polygenelubricants") == -(2**31)
    assert java_hash("😀") == 0xD83D * 31 + 0xDE00


def test_a_group_lives_in_the_partition_of_its_hash_without_the_sign() -> None:
    assert partition_for("hello", 50) == 99162322 % 50
    assert partition_for("polygenelubricants", 50) == 0
