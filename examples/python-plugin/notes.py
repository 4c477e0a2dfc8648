"""Notes in a JSON document: a target system and a template for the example."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plugin_pb2 as pb
from flamingock_plugin import Driver, Failed, Json, Plugin, Step, Template


@dataclass(frozen=True)
class Notebook:
    """A JSON document that maps titles to texts."""

    path: Path

    def read(self) -> dict[str, Any]:
        try:
            notes = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as e:
            raise Failed(pb.CODE_CONFLICT, f"{self.path} is not JSON: {e}", clean=True) from e
        if not isinstance(notes, dict):
            raise Failed(pb.CODE_CONFLICT, f"{self.path} does not map titles to notes", clean=True)
        return notes

    @contextlib.contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Gives the notes to be changed, and writes them: whole, or not at all."""
        with open(f"{self.path}.lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            notes = self.read()
            yield notes
            new = self.path.with_name(self.path.name + ".new")
            with open(new, "w", encoding="utf-8") as f:
                json.dump(notes, f, indent=2, ensure_ascii=False)
                f.flush()
                os.fsync(f.fileno())
            new.replace(self.path)


class Note(Template):
    name = "note"
    summary = "writes a note"
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 1, "description": "what the note is found by"},
            "text": {"type": ["string", "null"], "description": "what it says; null removes it"},
            "instead": {"type": ["string", "null"], "description": "what it must say before; null for no note"},
            "pause": {"type": "number", "minimum": 0, "description": "seconds to wait before it is written"},
        },
        "required": ["title", "text"],
        "additionalProperties": False,
    }

    def preview(self, target: Notebook, payload: Json) -> list[str]:
        if payload["text"] is None:
            return [f"remove {payload['title']}"]
        return [f"write {payload['title']}: {payload['text']}"]

    def probe(self, target: Notebook, payload: Json) -> int:
        there = target.read().get(payload["title"]) == payload["text"]
        return pb.EVIDENCE_APPLIED if there else pb.EVIDENCE_NOT_APPLIED

    def capture(self, target: Notebook, payload: Json) -> bytes:
        return json.dumps({"was": target.read().get(payload["title"])}).encode()

    def apply(self, target: Notebook, step: Step) -> None:
        if pause := step.payload.get("pause"):
            step.progress(f"waiting {pause} s")
            step.sleep(pause)
        with target.change() as notes:
            title, now = step.payload["title"], notes.get(step.payload["title"])
            if "instead" in step.payload and now not in (step.payload["instead"], step.payload["text"]):
                raise Failed(
                    pb.CODE_CONFLICT,
                    f"write note {title!r}: it says something else",
                    hint="look who wrote it",
                    clean=True,
                )
            put(notes, title, step.payload["text"])

    def inverse(self, target: Notebook, payload: Json, captured: bytes) -> None:
        with target.change() as notes:
            put(notes, payload["title"], json.loads(captured)["was"])


def put(notes: dict[str, Any], title: str, text: str | None) -> None:
    if text is None:
        notes.pop(title, None)
    else:
        notes[title] = text


def open_notebook(values: Json) -> Notebook:
    path = Path(values["path"])
    if not path.parent.is_dir():
        raise Failed(
            pb.CODE_NOT_FOUND, f"there is no folder {path.parent} for the notes", hint="make it, or correct `path`"
        )
    return Notebook(path)


PLUGIN = Plugin(
    name="notes",
    version="0.1.0",
    summary="notes in a JSON document",
    driver=Driver(
        type="notebook",
        summary="a JSON document on this machine",
        schema={
            "type": "object",
            "properties": {"path": {"type": "string", "description": "the document; it is made where it is missing"}},
            "required": ["path"],
            "additionalProperties": False,
        },
        open=open_notebook,
    ),
    templates=[Note()],
)
