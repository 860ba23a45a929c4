"""Mistakes in a configuration, said in one paragraph: the key, what was expected, what to write."""

import ast
import difflib
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from segkd.datasets.data import Domain
from segkd.distill.base import Knowledge
from segkd.experiment.classes import BASES, BRANCHES, base_of, choices, subclasses
from segkd.types import InputError

NO_NULL = "expected a value, found null. Leave the key out to get what is usual."
"""What is said of a null where a setting has no such value."""


ELSEWHERE = {"learning_rate": "lr", "num_epochs": "epochs", "max_epochs": "epochs", "num_workers": "workers"}
"""What other tools call a setting of ours, and letters alone would not find."""


OF_TRAINING = ("optim", "engine", "evaluation", "seed")
"""What the layer of a training says beside `data` and classes."""


def explain(error: BaseException, parser: ArgumentParser) -> str:
    """One paragraph on a mistake in a configuration: the key, what was expected, what to write."""
    cause: BaseException | None = error
    while cause is not None:  # what a constructor of ours said is the best explanation
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    text = _unnested(str(error))
    key = ".".join(dict.fromkeys(re.findall(r'[Kk]ey "([\w.\-]+)"', text)))
    unknown = re.search(r"Option '([\w.]+)' is not accepted|unrecognized arguments: --(\S+)", text) or re.search(
        r"Group '(\w+)' does not accept option '(\w+)'", text
    )
    wrong_class = re.search(r"dot import path string: (\S+)|not accessible or invalid", text)
    base = base_of(key)
    if key == "distiller.terms" and (terms := _without_knowledge(text)):
        wanted = "{knowledge: {class_path: NAME, init_args: {...}}, teacher: NAME, weight: 1}"
        return (
            f"{key}.{terms[0]}: expected {wanted}, found no knowledge. Write what is compared below knowledge, NAME "
            f"one of {', '.join(choices(Knowledge))}, or a path of your own."
        )
    if unknown:
        name = ".".join(group for group in unknown.groups() if group)
        return unknown_key(f"{key}.{name}" if key and not unknown[2] else name, text, parser)
    if wrong_class and base:
        given = wrong_class[1] or next(iter(re.findall(r"but (\S+) either", text)), "")
        return (
            f"{key}: expected a class of segkd ({', '.join(choices(base))}) or the import path of your own subclass "
            f"of {base.__module__}.{base.__qualname__} (file.Class, found from the working directory), found {given!r}."
        )
    lacking = re.search(r"class_path '[\w.]*?(\w+)':\s+the following arguments are required: (.+)", text)
    if lacking:
        return f"{key}: {lacking[1]} needs {lacking[2]}, of which nothing is said. Write it among its init_args."
    return _plain(key, text)


def _unnested(text: str) -> str:
    """jsonargparse's text with the whole key and the value of an option that reaches into a map of classes, of which it
    shows NestedArg(key='before.sources', val='RUN') below "distiller.teachers"."""
    nested = re.search(r"NestedArg\(key='([\w.\-]+)', val=(.*?)\)(?=$|\n|[,}\]])", text)
    if nested is None:
        return text
    above = nested[1].rpartition(".")[0]
    value = _literal(nested[2])
    text = text.replace(nested[0], nested[2] if value is None else str(value))
    return re.sub(r'[Kk]ey "([\w.\-]+)"', lambda one: f'{one[0]} key "{above}"', text, count=1) if above else text


def _without_knowledge(text: str) -> list[str]:
    """The names of the terms that say nothing of what they compare, from jsonargparse's sentence on all terms."""
    given = re.findall(r"Given value: (.+)", text)[-1:]
    terms = _literal(given[0]) if given else None
    terms = terms if isinstance(terms, dict) else {}
    return [str(name) for name, term in terms.items() if not dict(_pairs(term)).get("knowledge")]


def glued(arguments: Iterable[str]) -> str:
    """What to write in place of a map without a blank after its colons, which YAML reads as other things ({7:0} as
    seven times sixty); "" if there is none. (Maps of JSON, whose keys stand in quotes, need none.)"""
    maps = (text[text.index("{") :] for text in arguments if re.match(r"(--[\w.]+=)?\{", text))
    apart = ((given, re.sub(r"([{,]\s*[\w.+-]+):(?=\S)", r"\1: ", given)) for given in maps)
    return next((f" YAML wants a blank after a colon: '{better}'." for given, better in apart if better != given), "")


def _plain(key: str, text: str) -> str:
    """jsonargparse's tree of what does not fit, as one sentence."""
    loaded = re.search(r"Unable to load config ['\"](.+?)['\"]", text)
    if loaded:
        folder = f" A folder of images is --data.root {loaded[1]}." if key == "data" or "data:" in text else ""
        return f"{key or 'configuration'}: expected keys and values, found {loaded[1]!r}.{folder} Or --config FILE."
    if "unsupported operand" in text:  # jsonargparse's own mistake with maps whose keys are numbers
        return f"{key}: found a map whose values do not fit."
    choice = re.search(r"Literal\[(.+?)\]\. Got value: (\S+)", text)
    if choice:
        card = " To choose a card, write CUDA_VISIBLE_DEVICES=1 before the command." if key == "engine.device" else ""
        return f"{key}: expected one of {choice[1]}, found {choice[2]!r}.{card}"
    wanted = re.findall(r"Expected an? (?!instantiatable)(?:<class ')?([\w.]+)'?>?", text)
    given = re.findall(r"(?:Given|Got) value: (.+)", text)
    if key and wanted and given:
        kinds = [kind for kind in dict.fromkeys(wanted) if kind != "NoneType"]
        given.append(_innermost(given[-1], key.rpartition(".")[2]))
        if key == "data.classes" and (cure := _names_in_quotes(kinds, given[-1])):
            return f"{key}: expected a list of names, found {given[-1]!r}. {cure}"
        if not kinds:
            return f"{key}: expected {_wanted(key)}, found {given[-1]!r}."
        if given[-1] == "None":
            return f"{key}: {NO_NULL}"
        hint = f" Write [{given[-1]}]." if kinds == ["list"] and not given[-1].startswith("[") else ""
        return f"{key}: expected {' or '.join(kinds)}, found {given[-1]!r}.{hint}"
    lines = [line.strip(" -") for line in text.replace(f'Parser key "{key}":', f"{key}:").split("\n") if line.strip()]
    return " ".join(dict.fromkeys(line for line in lines if not line.startswith(("Does not", "Subtypes", "Errors"))))


def _names_in_quotes(kinds: list[str], given: str) -> str:
    """How to write class names that YAML reads as something else, or that are no list; "" for other faults."""
    if kinds == ["str"]:
        return 'YAML reads no, yes, null and numbers as what they say; as names, write them in quotes: ["no", "yes"].'
    if kinds != ["list"] or given == "None" or given.startswith("["):
        return ""
    tree = _literal(given)
    names = tree.values() if isinstance(tree, dict) else given.split(",")
    return f"Write {json.dumps([str(name).strip() for name in names], ensure_ascii=False)}."


def _innermost(given: str, name: str) -> str:
    """What was given for `name`, where jsonargparse shows the whole map around it."""
    found = [part for key, part in _pairs(_literal(given)) if key == name]
    return str(found[-1]) if found else given


def _literal(text: str) -> Any:
    """What Python reads in a text, jsonargparse's Namespace(key=value) as a map; None where it is no literal."""
    try:
        return ast.literal_eval(_Maps().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


class _Maps(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.Dict:
        self.generic_visit(node)
        return ast.Dict([ast.Constant(one.arg) for one in node.keywords], [one.value for one in node.keywords])


def _pairs(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, part in tree.items() if isinstance(tree, dict) else ():
        yield key, part
        yield from _pairs(part)


def _wanted(key: str) -> str:
    base = base_of(key)
    if base is None:
        return "a value of another kind (see --help)"
    return (
        f"{{class_path: NAME, init_args: {{...}}}} with NAME one of {', '.join(choices(base))}, or a path of your own"
    )


def refuse_null(parser: ArgumentParser, config: Namespace) -> None:
    """Raises InputError for a null where a setting has no such value, and for anything but true and false of a flag:
    jsonargparse takes both."""
    for action in parser._actions:
        if action.nargs == 0 and action.default is False and not isinstance(config.get(action.dest, False), bool):
            raise InputError(f"{action.dest}: expected true or false, found {config[action.dest]!r}.")
        hint = getattr(action, "_typehint", action.type)
        if action.dest in config and (action.default is not None or config[action.dest] is not None):
            for key in _nulls(config[action.dest], hint, action.dest):
                raise InputError(f"{key}: {NO_NULL}")


def _nulls(value: Any, hint: Any, key: str) -> Iterator[str]:
    """The keys at and below `key` whose value is None although their annotation has no None."""
    options = (hint, *get_args(hint))
    if value is None and not {type(None), Any, inspect.Parameter.empty}.intersection(options) and hint is not None:
        yield key
    members = next((get_args(one)[1] for one in options if get_origin(one) is dict), Any)
    for name, part in value.items() if isinstance(value, dict) else ():
        yield from _nulls(part, members, f"{key}.{name}")
    if isinstance(value, Namespace):
        kind = next((one for one in options if is_dataclass(one)), None)
        if "class_path" in value:
            module, _, name = str(value.class_path).rpartition(".")
            kind, value = getattr(sys.modules.get(module), name, None), value.get("init_args") or Namespace()
        for name, one in inspect.signature(kind).parameters.items() if isinstance(kind, type) else ():
            if name in value:
                yield from _nulls(value[name], one.annotation, f"{key}.{name}")


def unknown_key(name: str, text: str, parser: ArgumentParser) -> str:
    """A sentence on a key that there is not, with those that look like it; `text` is jsonargparse's."""
    name = name.split("=", maxsplit=1)[0]
    if name.startswith("data.domains."):
        own = ", ".join(one.name for one in fields(Domain))
        shared = " All domains share data.classes: map the values of its masks with its label_map."
        return f"unknown key {name}: a domain has {own}.{shared if name.endswith('classes') else ''}"
    keys = [action.dest for action in parser._actions if action.dest != "help"]
    if "data.size" in keys and "model" not in keys and name.split(".")[0] in (*BRANCHES, *OF_TRAINING):
        return (
            f"unknown key {name}: this command reads data alone, and --data FILE finds them in the layer of a training."
        )
    takes = {choice.__name__: (key, [*inspect.signature(choice).parameters])
             for key, base in BASES.items() for choice in subclasses(base)}  # fmt: skip
    keys += [f"{key}.{one}" for key, names in takes.values() for one in names]
    last = name.rpartition(".")[2]
    ours = ELSEWHERE.get(last, last)  # the same setting may lie elsewhere (model.features, in 0.1)
    near = [key for key in keys if key.rpartition(".")[2] == ours] or difflib.get_close_matches(name, keys, 3, 0.5)
    where = re.search(r"class_path '([\w.]+)'", text)
    given = where[1].split(".")[-1] if where else ""
    owner = f" of {given}" if where else ""
    if name in near and given in takes:  # a setting of another class: nothing is misspelt
        theirs = [other for other, (key, names) in sorted(takes.items())
                  if name in [f"{key}.{one}" for one in names] and other in choices(BASES[key])]  # fmt: skip
        whose = f" It is a setting of {', '.join(theirs)}." if theirs else ""
        return f"unknown key {name}{owner}, which takes {', '.join(takes[given][1])}.{whose}"
    hint = f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else "See --help for all keys."
    return f"unknown key {name}{owner}. {hint}"
