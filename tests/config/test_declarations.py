"""The words of declarations: what values they take, and relations between settings."""

from typing import Annotated, Any

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from rodflow.config.declarations import (
    Setting,
    choice,
    choices,
    divides,
    each_halves,
    number,
    text,
    whole,
    widths,
)


def taken(setting: Setting, value: Any) -> Any:
    """What a config makes of a value."""
    form, field = setting
    return TypeAdapter(Annotated[form, field], config=ConfigDict(strict=True)).validate_python(
        value
    )


@pytest.mark.parametrize(
    ("setting", "given", "made"),
    [
        (number("", 1.0, gt=0), 2, 2.0),
        (whole("", 3, ge=1), 600.0, 600),
        (whole("", None, ge=1), None, None),
        (choice("", 8, 8, 16), 16.0, 16),
        (choice("", "a", "a", "b"), "b", "b"),
        (choices("", "a", "b"), ["b", "a"], ["b", "a"]),
        (choices("", "a", "b"), None, None),
        (widths("", [8]), [4, 2.0], [4, 2]),
        (text(""), "a", "a"),
    ],
)
def test_a_value_is_taken_with_the_type_of_its_setting(
    setting: Setting, given: Any, made: Any
) -> None:
    found = taken(setting, given)
    assert (found, type(found)) == (made, type(made))


@pytest.mark.parametrize(
    ("setting", "given"),
    [
        (number("", 1.0), "2"),
        (number("", 1.0), True),
        (number("", 1.0, gt=0), 0),
        (whole("", 3), 1.5),
        (whole("", 3), True),
        (whole("", 3), "3"),
        (whole("", 3), None),
        (choice("", 1, 1, 2), True),
        (choice("", "a", "a"), "A"),
        (choices("", "a", "b"), ["a", "a"]),
        (choices("", "a", "b", least=2), ["a"]),
        (widths("", [8]), []),
        (widths("", [8]), [0]),
        (widths("", [8]), 8),
        (text("", min_length=1), ""),
    ],
)
def test_a_value_of_another_type_or_beyond_a_limit_is_not_taken(
    setting: Setting, given: Any
) -> None:
    with pytest.raises(ValidationError):
        taken(setting, given)


def test_a_setting_that_does_not_divide_another_is_named_with_both() -> None:
    relation = divides("heads", "width")
    assert relation({"heads": 4, "width": 16}) is None
    assert relation({"heads": 3, "width": 16}) == ("heads", "is 3; it must divide width, 16")


def test_each_entry_halves_the_image_down_to_a_pixel() -> None:
    relation = each_halves("channels", "dataset.size")
    assert relation({"channels": [1, 1, 1], "dataset.size": 8}) is None
    assert relation({"channels": [1, 1, 1], "dataset.size": 7}) == (
        "channels",
        "has 3 entries; each halves the image, whose side is 7",
    )


@pytest.mark.parametrize(
    "relation", [divides("a", "dataset.size"), each_halves("a", "dataset.size")]
)
def test_data_without_images_fit_what_is_said_of_images(relation: Any) -> None:
    assert relation({"a": [1] if "halves" in relation.__qualname__ else 3}) is None
