"""Settings that people write in YAML: one safe reader, and pydantic models for the content.

Every value is read as text until its model gives it a type, so `No`, `0383` and `1` stay as written. Tags, deep
nesting, large files, and aliases that expand to more than a person would write are refused. All mistakes in a file are
reported at once, each with file, line, column, key and rule. Messages never repeat a value that pydantic refused.
"""

import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self, TypeAlias, TypeVar

import pydantic
import yaml
from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Place: TypeAlias = tuple[str | int, ...]
_Model = TypeVar("_Model")

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 12
_MAX_VALUES = 20_000  # a council file with a mapping for every goal has about 200
_MAX_LISTED_NAMES = 12
_KEY = "[key]"
"""Last part of the location of a mistake in a key, as in pydantic."""


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake: file, line and column (from 1), and a sentence."""

    file: str
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.sentence}"


class InvalidSettings(ValueError):
    """Raised if a settings file is invalid; `problems` lists every mistake in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sort_problems(problems)
        super().__init__("\n".join(map(str, self.problems)))


def sort_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems by location; a mistake in a mapping that an alias uses again is listed once."""
    listed = sorted(problems, reverse=True)
    return tuple({(each.line, each.column, each.sentence.rpartition(": ")[2]): each for each in listed}.values())[::-1]


def read_settings(
    path: Path,
    model: type[_Model],
    raises: Callable[[list[Problem]], Exception],
    context: Any = None,
) -> _Model:
    """Read a file as `model`, a pydantic model or dataclass; raises `raises(problems)` with every problem found."""
    try:
        document = read_document(path)
    except InvalidSettings as invalid:
        raise raises([*invalid.problems]) from None
    problems = [*document.problems]
    try:
        value: _Model = _get_adapter(model).validate_python(  # type: ignore[arg-type]
            document.content, context=context
        )
    except ValidationError as error:
        problems += map(document.build_problem, map(dict, error.errors(include_url=False, include_input=False)))
    if problems:
        raise raises(problems)
    return value


def read_document(path: Path) -> "Document":
    """Read a file without a model, so that all values are text; raises `InvalidSettings` if it is not YAML."""
    try:
        if not path.is_file():
            raise _build_invalid_settings(path.name, "there is no such file")
        with path.open("rb") as file:
            # One byte more than is allowed shows that a file is too large, however large it is.
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise _build_invalid_settings(path.name, "the file cannot be read") from None
    if len(content) > MAX_BYTES:
        raise _build_invalid_settings(path.name, f"the file is larger than {MAX_BYTES // 1024} KB")
    return Document.parse(path.name, content)


def _build_invalid_settings(name: str, sentence: str, line: int = 1, column: int = 1) -> InvalidSettings:
    return InvalidSettings([Problem(name, line, column, sentence)])


@cache
def _get_adapter(model: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(model)


class _Loader(yaml.BaseLoader):
    """Composes nodes of text, lists and mappings, nested at most `_MAX_DEPTH` deep."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem="tags with ! are not read", problem_mark=event.start_mark)
        if self.depth >= _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="it is nested too deep", problem_mark=event.start_mark)
        self.depth += 1
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Document:
    """The text, lists and mappings of a YAML file, each with its location in the file."""

    def __init__(self, file: str, root: Node) -> None:
        self.file, self.root = file, root
        self.problems: list[Problem] = []
        self._values = 0
        self.content = self._convert_node(root)

    @classmethod
    @lru_cache(maxsize=64)  # a command reads the privacy policy up to 33 times, at about 20 ms each
    def parse(cls, name: str, content: bytes) -> Self:
        """Parse the content of a file called `name`; raises `InvalidSettings` if it is not YAML."""
        try:
            # Editors on Windows may begin UTF-8 with a byte order mark.
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise _build_invalid_settings(name, "the line is not UTF-8 text; save the file as UTF-8", line) from None
        try:
            root = _Loader(text).get_single_node()
            if root is None:
                raise _build_invalid_settings(name, "the file is empty")
            return cls(name, root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            hint = '; put a text that holds ": " or " #", or starts with a sign such as % or @ or [, in quotes'
            where = (mark.line + 1, mark.column + 1) if mark else ()
            sentence = ": ".join(part for part in (error.context, error.problem) if part)
            raise _build_invalid_settings(name, f"not readable as YAML: {sentence}{hint}", *where) from None
        except yaml.YAMLError as error:
            raise _build_invalid_settings(name, f"not readable as YAML: {str(error).splitlines()[0]}") from None

    def _convert_node(self, node: Node) -> Any:
        """Return the content of a node; an empty value, `~` or `null` is None."""
        # Counted while aliases expand: a small file can expand to billions of values.
        self._values += 1
        if self._values > _MAX_VALUES:
            raise yaml.MarkedYAMLError(problem="its aliases unfold to too many values", problem_mark=node.start_mark)
        if isinstance(node, ScalarNode):
            return None if node.style is None and node.value in ("", "~", "null") else node.value
        if isinstance(node, SequenceNode):
            return [self._convert_node(entry) for entry in node.value]
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.problems.append(self._build_problem(key, "a key must be text"))
            elif key.value in found:
                sentence = f"{key.value!r} is there twice, first on line {first[key.value]}; keep one"
                self.problems.append(self._build_problem(key, sentence))
            else:
                first[key.value] = key.start_mark.line + 1
                found[key.value] = self._convert_node(value)
        return found

    def _build_problem(self, node: Node, sentence: str) -> Problem:
        return Problem(self.file, node.start_mark.line + 1, node.start_mark.column + 1, sentence)

    def build_problem(self, error: Mapping[str, Any]) -> Problem:
        """Return pydantic's error as a problem: the key and the rule, never the value."""
        place: Place = error["loc"]
        if error["type"] in _UNKNOWN_KEY:
            place = (*place, _KEY)
        node, where, is_there = self._find(place)
        rule = "is missing" if error["type"] in _MISSING_KEY and not is_there else describe_rule(error)
        return self._build_problem(node, f"{where}: {rule}" if where else rule)

    def _find(self, place: Place) -> tuple[Node, str, bool]:
        """Return the node at a location or its nearest parent, the location in words, and whether the node exists."""
        node, words = self.root, ""
        for number, part in enumerate(place):
            if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
                node, words = node.value[part], f"{words}[{part + 1}]"
            elif isinstance(node, MappingNode):
                entry = next(((key, value) for key, value in node.value if key.value == part), None)
                if entry is None:
                    return node, f"{words}.{part}".removeprefix("."), False
                if place[number + 1 :] == (_KEY,):
                    return entry[0], words, True
                node, words = entry[1], f"{words}.{part}".removeprefix(".")
        return node, words, True


_UNKNOWN_KEY = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING_KEY = {"missing", "missing_argument"}
_IN_OUR_WORDS = {
    "Field required": "is empty",
    "Input should be": "must be",
    "a valid string": "one text",
    "a valid integer": "a whole number",
    "a valid ": "a ",
    "a tuple": "a list",
    "a dictionary": "a mapping",
}


def describe_rule(error: Mapping[str, Any]) -> str:
    """Return the broken rule as the end of a sentence; pydantic's messages repeat no value."""
    if error["type"] in _UNKNOWN_KEY:
        return f"{error['loc'][-1]!r} is not a key here"
    rule = re.sub(r"^Value error, |, unable to parse.*| or instance of.*", "", error["msg"])
    if error["type"] in ("rule", "value_error"):
        return rule
    for theirs, ours in _IN_OUR_WORDS.items():
        rule = rule.replace(theirs, ours)
    return rule[0].lower() + rule[1:]


class Faults:
    """Collects broken rules with their locations in a validator, and raises them together with pydantic's errors."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def add(self, place: Place, sentence: str | None, *, key: bool = False) -> None:
        """Add a sentence about the value at `place`, or about its key; None is ignored."""
        if sentence:
            # Without the input, so that no message can repeat a refused value.
            error = PydanticCustomError("rule", "{rule}", {"rule": sentence})
            self._found.append(InitErrorDetails(type=error, loc=(*place, _KEY) if key else place, input=None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None and not isinstance(error, ValidationError):
            return
        for each in error.errors(include_url=False, include_input=False) if error else ():
            rule = PydanticCustomError(each["type"], "{rule}", {"rule": describe_rule(dict(each))})
            self._found.append(InitErrorDetails(type=rule, loc=each["loc"], input=None))
        if self._found:
            raise ValidationError.from_exception_data("settings", self._found) from None


class Settings(pydantic.BaseModel):
    """A mapping that allows only these keys; a key without a value counts as missing."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _check_known_keys(cls, content: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        names = [field.alias or name for name, field in cls.model_fields.items()]
        # An empty section is a mapping without keys, so that each missing key is reported by name.
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise ValueError(f"must be a mapping of {', '.join(names)}")
        with Faults() as faults:
            # Unknown keys are removed first, because pydantic would report them without the closest valid name.
            for name in content:
                if name not in names:
                    faults.add((name,), f"{name!r} is not a key here{suggest_names(name, names)}", key=True)
            known = {name: value for name, value in content.items() if name in names and value is not None}
            return handler(known)


def suggest_names(name: str, names: Sequence[str]) -> str:
    """Return the end of a sentence with the closest valid name, and with all names if they are few."""
    by_lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    closest = f"; perhaps {by_lower[near[0]]!r}" if near else ""
    return closest + (f" (it may be {', '.join(names)})" if len(names) <= _MAX_LISTED_NAMES else "")


def build_choice_validator(names: Callable[[], Sequence[str]] | Sequence[str], called: str) -> AfterValidator:
    """Return a validator that accepts one of the names; its message calls them `called` and suggests the closest."""

    def check(text: str) -> str:
        known = names() if callable(names) else names
        if text not in known:
            raise ValueError(f"{text!r} is not {called}{suggest_names(text, known)}")
        return text

    return AfterValidator(check)


def build_fault_validator(fault: Callable[[Any], str | None]) -> AfterValidator:
    """Return a validator that accepts a value for which `fault` returns None."""

    def check(value: Any) -> Any:
        if sentence := fault(value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


def _check_filled(text: Any) -> Any:
    if text is None or (isinstance(text, str) and not text.strip()):
        raise ValueError("is empty")
    return text.strip() if isinstance(text, str) else text


Text: TypeAlias = Annotated[str, BeforeValidator(_check_filled)]
"""A text that is not blank."""


def _check_day(text: Any) -> Any:
    if isinstance(text, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
        raise ValueError("must be a day such as 2026-11-26")
    return text


Day: TypeAlias = Annotated[dt.date, BeforeValidator(_check_day)]
OrEmpty: TypeAlias = Annotated[str, BeforeValidator(lambda text: "" if text is None else text)]


def _convert_to_list(content: Any) -> Any:
    if content == []:
        raise ValueError("is an empty list")
    return [content] if isinstance(content, str) or content is None else content


AsList = BeforeValidator(_convert_to_list)
"""A text or a list of texts, validated as a list."""
