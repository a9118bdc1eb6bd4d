"""``item_error``: what ``on_item_error="keep"`` leaves in place of a failed item, the error as text.

The format is in ``orchestrator.artifacts.errors``, where the driver makes such cells without loading codecs.
"""

from __future__ import annotations

from typing import Any

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.artifacts.errors import ITEM_ERROR, item_error_bytes, item_error_content, item_error_preview
from orchestrator.graph.item import ItemError
from orchestrator.ports.values import Loaded


class ItemErrorCodec(Codec):
    """``ItemError``."""

    name = ITEM_ERROR
    roots = ("orchestrator",)
    order = 5

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """Classes and message."""
        if type(value) is not ItemError:
            return None
        return Encoded((item_error_bytes(value.classes, value.message),))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The error, equal to the one that was kept."""
        content = item_error_content(data)
        return Loaded(ItemError(content.message, content.classes), True)

    def preview(self, value: Any) -> str:
        """``ItemError(ValueError: message)``."""
        return item_error_preview(value.classes, value.message)


CODEC = ItemErrorCodec()
