"""The codecs against themselves, against other clients' libraries, against bombs, and against Kafka's Java decoder."""

import contextlib
import gzip
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cramjam
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rafka.core.errors import CorruptRecord
from rafka.core.record.compression import GZIP, LZ4, SNAPPY, ZSTD
from rafka.net.compression import Compression
from tests.jvm.support import FLAGS, MISSING, jars

CODECS = (GZIP, SNAPPY, LZ4, ZSTD)
TEXT = b"".join(b"line %d of a text that repeats itself\n" % i for i in range(5000))
MEBIBYTE = 1 << 20


@settings(deadline=None)
@given(st.sampled_from(CODECS), st.binary(max_size=5000), st.integers(1, 40))
def test_what_is_compressed_comes_back_whole(codec, piece, times):
    data = piece * times
    codecs = Compression()
    packed = codecs.compress(codec, data)
    assert codecs.decompress(codec, packed, len(data)) == data
    assert codecs.decompress(codec, memoryview(packed), len(data) + 1) == data


@pytest.mark.parametrize("codec", CODECS)
def test_any_buffer_may_be_compressed(codec):
    codecs = Compression()
    for data in (TEXT, bytearray(TEXT), memoryview(bytearray(TEXT))):
        assert codecs.decompress(codec, codecs.compress(codec, data), len(TEXT)) == TEXT


@settings(deadline=None)
@given(st.sampled_from((*CODECS, 0, 5, 7)), st.binary(max_size=300))
def test_garbage_is_a_corrupt_record_or_data_within_the_limit(codec, garbage):
    with contextlib.suppress(CorruptRecord):
        assert len(Compression().decompress(codec, garbage, 1000)) <= 1000


@settings(deadline=None)
@given(st.sampled_from(CODECS), st.data())
def test_a_cut_or_flipped_stream_never_raises_anything_else(codec, data):
    packed = bytearray(Compression().compress(codec, TEXT[:2000]))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    del packed[data.draw(st.integers(0, len(packed))) :]
    with contextlib.suppress(CorruptRecord):
        assert len(Compression().decompress(codec, packed, 4000)) <= 4000


@pytest.mark.parametrize("codec", CODECS)
def test_one_byte_over_the_limit_is_refused(codec):
    codecs = Compression()
    packed = codecs.compress(codec, TEXT)
    assert codecs.decompress(codec, packed, len(TEXT)) == TEXT
    with pytest.raises(CorruptRecord):
        codecs.decompress(codec, packed, len(TEXT) - 1)


MEASURE = """
import pathlib, resource, sys
from rafka.core.errors import CorruptRecord
from rafka.net.compression import Compression
codec, limit, bomb = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_bytes()
Compression().decompress(codec, Compression().compress(codec, b"the libraries are imported"), 100)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Compression().decompress(codec, bomb, limit)
except CorruptRecord:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_takes_no_more_memory_than_a_few_times_the_limit(codec, tmp_path):
    bomb = tmp_path / "bomb"
    bomb.write_bytes(Compression().compress(codec, bytes(256 * MEBIBYTE)))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(codec), str(MEBIBYTE), str(bomb)],
        check=True, capture_output=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert int(measured.stdout) < 16 * 1024, "kilobytes of resident memory"


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_memory_follows_the_data_and_not_the_limit(codec):
    packed = Compression().compress(codec, b"x" * 1_000_000)
    tracemalloc.start()
    try:
        assert len(Compression().decompress(codec, packed, 1 << 30)) == 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_concatenated_frames_are_one_stream(codec):
    codecs = Compression()
    packed = codecs.compress(codec, b"first ") + codecs.compress(codec, b"second")
    assert codecs.decompress(codec, packed, 100) == b"first second"


def test_snappy_is_read_raw_and_as_xerial_blocks():
    raw = bytes(cramjam.snappy.compress_raw(TEXT))
    assert Compression().decompress(SNAPPY, raw, len(TEXT)) == TEXT
    packed = Compression().compress(SNAPPY, b"abc")
    assert packed == bytes.fromhex("82 534e41505059 00 00000001 00000001 00000005 03 08 616263")


def test_a_snappy_stream_is_bounded_by_the_sum_of_its_blocks():
    block = bytes(cramjam.snappy.compress_raw(bytes(600)))
    header = Compression().compress(SNAPPY, b"")
    stream = header + 2 * (struct.pack(">i", len(block)) + block)
    assert Compression().decompress(SNAPPY, stream, 1200) == bytes(1200)
    with pytest.raises(CorruptRecord):
        Compression().decompress(SNAPPY, stream, 1199)


def test_lz4_frames_have_independent_blocks_and_no_content_checksum():
    flags = Compression().compress(LZ4, TEXT)[4]
    assert flags & 0b0010_0000, "blocks depend on each other"
    assert not flags & 0b0000_0100, "there is a content checksum"


def test_levels_reach_the_libraries():
    codecs, words = Compression(), b" ".join(b"%d" % (i * i * 2654435761 % 9973) for i in range(20000))
    for codec, low, high in ((GZIP, 1, 9), (LZ4, 1, 12), (ZSTD, 1, 19)):
        fast, small = codecs.compress(codec, words, low), codecs.compress(codec, words, high)
        assert len(small) < len(fast)
        assert codecs.decompress(codec, small, len(words)) == words
    assert codecs.compress(GZIP, words, -1) == codecs.compress(GZIP, words, 6)


def test_every_decompression_is_counted():
    codecs = Compression()
    codecs.decompress(ZSTD, codecs.compress(ZSTD, b"x"), 10)
    assert (codecs.compressed, codecs.decompressed) == (1, 1)


def test_other_libraries_and_ours_read_each_other():
    codecs, size = Compression(), len(TEXT)
    assert gzip.decompress(codecs.compress(GZIP, TEXT)) == TEXT
    assert codecs.decompress(GZIP, gzip.compress(TEXT), size) == TEXT
    assert zstandard.ZstdDecompressor().decompress(codecs.compress(ZSTD, TEXT)) == TEXT
    unstated = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    assert codecs.decompress(ZSTD, unstated, size) == TEXT
    assert bytes(cramjam.lz4.decompress(codecs.compress(LZ4, TEXT))) == TEXT
    assert codecs.decompress(LZ4, bytes(cramjam.lz4.compress(TEXT)), size) == TEXT


JAVA = """
import java.io.*;
import java.nio.ByteBuffer;
import java.nio.file.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.utils.internals.*;

public class Codec {
    public static void main(String[] args) throws Exception {
        byte[] text = Files.readAllBytes(Path.of(args[0], "text"));
        for (int id = 1; id <= 4; id++) {
            Compression codec = Compression.of(CompressionType.forId(id)).build();
            ByteBuffer ours = ByteBuffer.wrap(Files.readAllBytes(Path.of(args[0], "ours" + id)));
            try (InputStream in = codec.wrapForInput(ours, (byte) 2, BufferSupplier.create())) {
                if (!java.util.Arrays.equals(in.readAllBytes(), text)) throw new IOException("codec " + id);
            }
            ByteBufferOutputStream out = new ByteBufferOutputStream(1024);
            try (OutputStream packed = codec.wrapForOutput(out, (byte) 2)) { packed.write(text); }
            ByteBuffer theirs = out.buffer();
            theirs.flip();
            byte[] bytes = new byte[theirs.remaining()];
            theirs.get(bytes);
            Files.write(Path.of(args[0], "theirs" + id), bytes);
        }
    }
}
"""


@pytest.mark.jvm
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}, not found on the PATH")
def test_java_reads_ours_and_we_read_javas(tmp_path):
    (tmp_path / "text").write_bytes(TEXT)
    for codec in CODECS:
        (tmp_path / f"ours{codec}").write_bytes(Compression().compress(codec, TEXT))
    (tmp_path / "Codec.java").write_text(JAVA)
    classpath = os.pathsep.join([str(tmp_path), f"{jars('server')}/*"])
    subprocess.run(["javac", "-cp", classpath, "Codec.java"], cwd=tmp_path, check=True)
    subprocess.run(["java", *FLAGS, "-cp", classpath, "Codec", str(tmp_path)], cwd=tmp_path, check=True)
    for codec in CODECS:
        theirs = (tmp_path / f"theirs{codec}").read_bytes()
        assert Compression().decompress(codec, theirs, len(TEXT)) == TEXT
