"""What a config gives, as the values of JSON: a name for its type, without anything that reads or checks it."""

from collections.abc import Mapping
from typing import Any

# Any: of a value of JSON only who takes it knows the type, and reads it by keys, as settings["model"]["kind"].
Settings = Mapping[str, Any]
"""Settings by key: numbers, text, booleans, lists and further settings, to be checked by who takes them."""
