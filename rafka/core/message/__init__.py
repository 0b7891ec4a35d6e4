"""Kafka's messages: the classes that describe them and the codecs compiled from the descriptions.

data = encode(MetadataRequest(topics=None), 12)
request = decode(MetadataRequest, 12, data)
"""

from rafka.core.message.base import NEVER, UNSET, Message, Unset
from rafka.core.message.compiler import Codec, codec, decode, decode_prefix, encode

__all__ = ["NEVER", "UNSET", "Codec", "Message", "Unset", "codec", "decode", "decode_prefix", "encode"]
