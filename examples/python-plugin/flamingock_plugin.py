"""A plugin for Flamingock, served from Python.

This module speaks the protocol (plugin.proto, over hashicorp/go-plugin) for a plugin
that is described by the classes Plugin, Driver and Template. Copy it for a plugin of
your own; it knows nothing of notes.

What it leaves out of the protocol, because the example does not need it: audit stores,
target systems with transactions, and steps of several parts.
"""

from __future__ import annotations

import concurrent.futures
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import grpc
import jsonschema

import plugin_pb2 as pb
import plugin_pb2_grpc as rpc

PROTOCOL = 1
MAX_MESSAGE = 64 << 20
HEARTBEAT = 1.0  # seconds

log = logging.getLogger("plugin")

Json = Mapping[str, Any]


class Failed(Exception):
    """A step or a connection failed. The code says what kind of failure it is."""

    def __init__(self, code: int, message: str, *, hint: str = "", clean: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint
        self.clean = clean  # nothing of the step is in place

    def to_wire(self, step: int = 0) -> pb.Failure:
        return pb.Failure(code=self.code, message=self.message, hint=self.hint, step=step, part=-1)


@dataclass
class Step:
    """One step of a change, as a template sees it."""

    index: int
    payload: Json
    # What `save` was last given, by this run or one before it.
    saved: bytes
    _work: Work = field(repr=False)

    def save(self, data: bytes) -> None:
        """Makes data durable. A later run, `probe` and `inverse` get it as `saved`."""
        self._work.checkpoint(pb.CHECKPOINT_KIND_SAVED, self.index, data)
        self.saved = data

    def progress(self, message: str) -> None:
        """Tells people how far the step is."""
        self._work.say(progress=pb.ProgressEvent(step=self.index, part=-1, message=message))

    def sleep(self, seconds: float) -> None:
        """Waits. Fails at once where the work must end."""
        self._work.stop.wait(seconds)
        self._work.go_on()


class Template(ABC):
    """A kind of change."""

    name: str
    summary: str
    schema: Json  # of the payload

    def preview(self, target: Any, payload: Json) -> list[str]:
        """Shows what would be done, without doing it."""
        return []

    @abstractmethod
    def probe(self, target: Any, payload: Json) -> int:
        """Tells whether the step is in place, as pb.EVIDENCE_…: asked after a crash."""

    @abstractmethod
    def capture(self, target: Any, payload: Json) -> bytes:
        """Returns what `inverse` will need. It is durable before `apply` is called."""

    @abstractmethod
    def apply(self, target: Any, step: Step) -> None:
        """Makes the change. It may be called again after a crash, and for rollbacks that
        are written out."""

    @abstractmethod
    def inverse(self, target: Any, payload: Json, captured: bytes) -> None:
        """Takes back what apply did, and nothing else."""


@dataclass(frozen=True)
class Driver:
    """A kind of target system. What `open` returns is given to the templates."""

    type: str
    summary: str
    schema: Json  # of the configuration
    open: Callable[[Json], Any]
    close: Callable[[Any], None] = lambda _: None


@dataclass(frozen=True)
class Plugin:
    """A plugin: what it is called and what it offers."""

    name: str
    version: str
    summary: str
    driver: Driver
    templates: list[Template]

    def metadata(self) -> Json:
        """What the plugin offers: the document that `describe` prints."""
        return {
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "protocols": [str(PROTOCOL)],
            "drivers": [
                {"type": self.driver.type, "summary": self.driver.summary, "schema": self.driver.schema, "target": True}
            ],
            "templates": [
                {
                    "name": t.name,
                    "class": t.name,
                    "summary": t.summary,
                    "drivers": [self.driver.type],
                    "simple": True,
                    "multiStep": True,
                    "apply": t.schema,
                    "probe": True,
                    "preview": True,
                    "inverse": True,
                }
                for t in self.templates
            ],
        }

    def template(self, name: str) -> Template | None:
        return next((t for t in self.templates if t.name == name), None)


@dataclass(frozen=True)
class Problem:
    """Something wrong in a value, at a JSON pointer."""

    path: str
    summary: str


def problems(schema: Json, value: Any) -> list[Problem]:
    """Checks a value. A text with a reference, such as ${env:NAME}, is not final yet."""
    out = []
    for e in jsonschema.Draft202012Validator(schema).iter_errors(value):
        path = "".join(f"/{pointer(p)}" for p in e.absolute_path)
        if isinstance(e.instance, str) and "${" in e.instance:
            continue
        if e.validator == "additionalProperties":
            extra = set(e.instance) - set(e.schema.get("properties", {}))
            out += [Problem(f"{path}/{pointer(name)}", f"there is no field {name!r}") for name in sorted(extra)]
        else:
            out.append(Problem(path, e.message))
    return out


def pointer(token: object) -> str:
    return str(token).replace("~", "~0").replace("/", "~1")


def decode(payload: pb.Payload) -> Any:
    return json.loads(payload.json) if payload.json else None


def check_work(plugin: Plugin, work: pb.Work) -> list[pb.Diagnostic]:
    """Returns what is wrong with a change."""
    template = plugin.template(work.template)
    if template is None:
        return [
            pb.Diagnostic(field="apply", code="unknown-template", summary=f"there is no template {work.template!r}")
        ]
    out = []
    for step in work.steps:
        fields = [("apply", step.apply)] if step.HasField("apply") else []
        if step.mode == pb.ROLLBACK_MODE_EXPLICIT:
            fields.append(("rollback", step.rollback))
        for name, payload in fields:
            for p in problems(template.schema, decode(payload)):
                out.append(pb.Diagnostic(field=name, step=step.index, path=p.path, code="bad-value", summary=p.summary))
    return out


class Ended(Failed):
    """The work must end: it was stopped, or the host's lease is lost."""


class Stop:
    """Why works must end; None where they need not."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.why: Ended | None = None

    def set(self, code: int, why: str) -> None:
        if self.why is None:
            self.why = Ended(code, why)
        self._event.set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)


class Work:
    """One change that is being applied or rolled back."""

    def __init__(self, talk: Conversation, start: pb.StartCommand) -> None:
        self.talk, self.wire, self.sequence, self.stop = talk, start.work, start.sequence, talk.stop

    def say(self, **event: Any) -> None:
        self.talk.out.put(pb.ExecuteResponse(sequence=self.sequence, **event))

    def go_on(self) -> None:
        """Fails where the work must end."""
        if self.talk.lease_left() <= 0:
            self.stop.set(pb.CODE_FENCED, "the lease ran out before the work was done")
        if self.stop.why is not None:
            raise self.stop.why

    def checkpoint(self, kind: int, step: int, data: bytes = b"", wait: bool = True) -> None:
        """Lets the host record how far the work is; with wait, before going on."""
        self.go_on()
        number, answer = self.talk.expect()
        self.say(checkpoint=pb.CheckpointEvent(checkpoint=number, kind=kind, step=step, part=-1, data=data))
        while wait and not answer.wait(0.05):
            self.go_on()
            if self.talk.closed.is_set() and not answer.is_set():
                raise Ended(pb.CODE_CANCELLED, "the host closed its side of the conversation before it answered")
        self.go_on()

    def run(self, plugin: Plugin, target: Any) -> pb.DoneEvent:
        began = time.monotonic()
        over = threading.Event()
        beating = threading.Thread(target=self._beat, args=(over,))
        self.say(begun=pb.BegunEvent())
        beating.start()
        try:
            done = self._perform(plugin, target)
        finally:
            over.set()
            beating.join()
        done.duration.FromNanoseconds(int((time.monotonic() - began) * 1e9))
        return done

    def _beat(self, over: threading.Event) -> None:
        beat = time.monotonic() + HEARTBEAT
        while not over.wait(max(0, min(beat - time.monotonic(), self.talk.lease_left()))):
            if self.talk.lease_left() <= 0:
                self.stop.set(pb.CODE_FENCED, "the lease ran out before the work was done")
                return  # what is left is to end
            if time.monotonic() >= beat:
                self.say(heartbeat=pb.HeartbeatEvent())
                beat += HEARTBEAT

    def _perform(self, plugin: Plugin, target: Any) -> pb.DoneEvent:
        wrong = check_work(plugin, self.wire)
        if wrong:
            first = wrong[0]
            failure = Failed(
                pb.CODE_INVALID, f"{first.field} {first.path} of step {first.step} is not right: {first.summary}"
            )
            return pb.DoneEvent(failure=failure.to_wire(first.step), clean=True, step_clean=True)
        if self.wire.transactional:
            failure = Failed(pb.CODE_INVALID, f"target systems of type {plugin.driver.type} have no transactions")
            return pb.DoneEvent(failure=failure.to_wire(), clean=True, step_clean=True)
        template = plugin.template(self.wire.template)
        assert template is not None  # check_work has looked
        if self.wire.direction == pb.DIRECTION_APPLY:
            return self._apply(template, target)
        if self.wire.direction == pb.DIRECTION_ROLLBACK:
            return self._roll_back(template, target)
        failure = Failed(pb.CODE_INVALID, f"the direction {self.wire.direction} is not known")
        return pb.DoneEvent(failure=failure.to_wire(), clean=True, step_clean=True)

    def _apply(self, template: Template, target: Any) -> pb.DoneEvent:
        resumed = any(s.index != i for i, s in enumerate(self.wire.steps))
        for i, wire in enumerate(self.wire.steps):
            step = Step(wire.index, decode(wire.apply), wire.saved, self)
            begun = False
            try:
                self.go_on()
                if i > 0 and self.talk.after_step:
                    raise Ended(pb.CODE_CANCELLED, "stopped on request")
                if wire.mode == pb.ROLLBACK_MODE_AUTO and not wire.captured:
                    state = template.capture(target, step.payload)
                    self.checkpoint(pb.CHECKPOINT_KIND_CAPTURED, wire.index, state, wait=False)
                self.checkpoint(pb.CHECKPOINT_KIND_STARTED, wire.index)
                begun = True
                template.apply(target, step)
            except Exception as e:
                failure = self._failed(e)
                clean = not begun or failure.clean
                return pb.DoneEvent(
                    failure=failure.to_wire(wire.index), clean=clean and i == 0 and not resumed, step_clean=clean
                )
            # The next step's checkpoint, or the end, makes this one durable.
            number, _ = self.talk.expect()
            self.say(
                checkpoint=pb.CheckpointEvent(
                    checkpoint=number, kind=pb.CHECKPOINT_KIND_APPLIED, step=wire.index, part=-1
                )
            )
        return pb.DoneEvent()

    def _roll_back(self, template: Template, target: Any) -> pb.DoneEvent:
        for i, wire in enumerate(reversed(self.wire.steps)):
            begun = False
            try:
                self.go_on()
                if i > 0 and self.talk.after_step:
                    raise Ended(pb.CODE_CANCELLED, "stopped on request")
                begun = True
                if wire.mode == pb.ROLLBACK_MODE_EXPLICIT:
                    template.apply(target, Step(wire.index, decode(wire.rollback), wire.saved, self))
                elif wire.mode == pb.ROLLBACK_MODE_AUTO:
                    template.inverse(target, decode(wire.apply), wire.captured)
                else:
                    raise Failed(pb.CODE_INVALID, f"step {wire.index} has no rollback")
                self.checkpoint(pb.CHECKPOINT_KIND_UNDONE, wire.index)
            except Exception as e:
                failure = self._failed(e)
                return pb.DoneEvent(
                    failure=failure.to_wire(wire.index), clean=not begun and i == 0, step_clean=not begun
                )
        return pb.DoneEvent()

    def _failed(self, e: Exception) -> Failed:
        """Says why a step failed: where it had to end, that is the reason."""
        why = self.stop.why
        if why is not None and e is not why:
            return Failed(why.code, f"{why.message}: {e}")
        if isinstance(e, Failed):
            return e
        if isinstance(e, PermissionError):
            return Failed(pb.CODE_PERMISSION, str(e))
        if not isinstance(e, OSError):
            log.error("a template failed unexpectedly", exc_info=e)
        return Failed(pb.CODE_INTERNAL, f"{type(e).__name__}: {e}")


class Conversation:
    """One Execute call: works are queued by the host and done one after another."""

    def __init__(self, service: Services, commands: Iterator[pb.ExecuteRequest]) -> None:
        self.service, self.commands = service, commands
        self.out: queue.Queue[pb.ExecuteResponse | Exception | None] = queue.Queue()
        self.starts: queue.Queue[pb.StartCommand | None] = queue.Queue()
        self.stop, self.after_step = Stop(), False
        self.closed = threading.Event()  # the host has closed its side
        self._lease = 0.0  # when it ends; 0 where there is none
        self._lock = threading.Lock()
        self._number = 0
        self._answers: dict[int, threading.Event] = {}

    def expect(self) -> tuple[int, threading.Event]:
        """Returns the number of the next checkpoint, and what is set once it is durable."""
        with self._lock:
            self._number += 1
            answer = self._answers[self._number] = threading.Event()
            return self._number, answer

    def responses(self) -> Iterator[pb.ExecuteResponse]:
        for target in (self._receive, self._work):
            threading.Thread(target=target, daemon=True).start()
        while (r := self.out.get()) is not None:
            if isinstance(r, Exception):
                raise r
            yield r

    def abandon(self, why: str) -> None:
        self.stop.set(pb.CODE_CANCELLED, why)
        self.starts.put(None)

    def _receive(self) -> None:
        try:
            for command in self.commands:
                kind = command.WhichOneof("command")
                if kind == "start":
                    self._extend(command.start.lease)
                    self.starts.put(command.start)
                elif kind == "ack":
                    if command.ack.refused and not command.ack.reason:
                        self.stop.set(pb.CODE_FENCED, "the host refused to record a checkpoint, so its lease is lost")
                    with self._lock:
                        answer = self._answers.pop(command.ack.checkpoint, None)
                    if answer is not None:
                        answer.set()
                elif kind == "stop":
                    self.after_step = True
                    if command.stop.mode != pb.STOP_MODE_AFTER_STEP:
                        self.stop.set(pb.CODE_CANCELLED, "stopped on request")
                elif kind == "lease":
                    self._extend(command.lease.lease)
        except Exception:  # gRPC's own, where the host is gone
            self.stop.set(pb.CODE_CANCELLED, "the conversation with the host broke off")
        self.closed.set()
        self.starts.put(None)

    def _extend(self, lease: Any) -> None:
        left = lease.ToNanoseconds() / 1e9
        if left > 0:
            self._lease = max(self._lease, time.monotonic() + left)

    def lease_left(self) -> float:
        return self._lease - time.monotonic() if self._lease else threading.TIMEOUT_MAX

    def _work(self) -> None:
        failed, handle = False, 0
        try:
            while (start := self.starts.get()) is not None:
                handle = start.handle or handle
                if failed:
                    done = pb.DoneEvent(skipped=True)
                else:
                    target = self.service.target(handle)
                    done = Work(self, start).run(self.service.plugin, target)
                    failed = done.HasField("failure")
                self.out.put(pb.ExecuteResponse(sequence=start.sequence, done=done))
            self.out.put(None)
        except Exception as e:
            self.out.put(e)


class Unknown(Exception):
    """No open target system has the handle."""


class Services:
    """The gRPC services of the protocol."""

    def __init__(self, plugin: Plugin, end: Callable[[], None]) -> None:
        self.plugin, self.end = plugin, end
        self._lock = threading.Lock()
        self._targets: dict[int, Any] = {}
        self._last = 0
        self._talks: set[Conversation] = set()

    def target(self, handle: int) -> Any:
        with self._lock:
            if handle not in self._targets:
                raise Unknown(f"no open target system has the handle {handle}")
            return self._targets[handle]

    def stop(self) -> None:
        """Ends all works and closes what is open."""
        with self._lock:
            talks, targets = list(self._talks), list(self._targets.values())
            self._targets.clear()
        for talk in talks:
            talk.abandon("the plugin is ending")
        for target in targets:
            self.plugin.driver.close(target)

    # PluginService

    def GetMetadata(self, request: pb.GetMetadataRequest, context: grpc.ServicerContext) -> pb.GetMetadataResponse:
        return pb.GetMetadataResponse(metadata=json.dumps(self.plugin.metadata()).encode())

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:
        reason = f"target systems of type {request.driver} have no transactions"
        return pb.CheckResponse(
            checked=[
                pb.Checked(diagnostics=check_work(self.plugin, w), transactional=False, reason=reason, probed=True)
                for w in request.works
            ]
        )

    def Shutdown(self, request: pb.ShutdownRequest, context: grpc.ServicerContext) -> pb.ShutdownResponse:
        self.stop()
        context.add_callback(self.end)
        return pb.ShutdownResponse()

    # TargetSystemService

    def Open(self, request: pb.OpenRequest, context: grpc.ServicerContext) -> pb.OpenResponse:
        try:
            if request.driver != self.plugin.driver.type:
                raise Failed(pb.CODE_INVALID, f"there are no target systems of type {request.driver!r} here")
            values = json.loads(request.values)
            wrong = problems(self.plugin.driver.schema, values)
            if wrong:
                raise Failed(pb.CODE_INVALID, f"configuration {wrong[0].path}: {wrong[0].summary}")
            target = self.plugin.driver.open(values)
        except Failed as e:
            return pb.OpenResponse(failure=e.to_wire())
        except OSError as e:
            return pb.OpenResponse(failure=Failed(pb.CODE_NOT_FOUND, str(e)).to_wire())
        with self._lock:
            self._last += 1
            self._targets[self._last] = target
            return pb.OpenResponse(handle=self._last)

    def Health(self, request: pb.HealthRequest, context: grpc.ServicerContext) -> pb.HealthResponse:
        self._known(request.handle, context)
        return pb.HealthResponse()

    def Close(self, request: pb.CloseRequest, context: grpc.ServicerContext) -> pb.CloseResponse:
        with self._lock:
            target = self._targets.pop(request.handle, None)
        if target is not None:
            self.plugin.driver.close(target)
        return pb.CloseResponse()

    # ChangeService

    def Preview(self, request: pb.PreviewRequest, context: grpc.ServicerContext) -> pb.PreviewResponse:
        target, template = self._known(request.handle, context), self.plugin.template(request.work.template)
        if template is None:
            return pb.PreviewResponse(failure=Failed(pb.CODE_INVALID, "there is no such template").to_wire())
        lines = [line for s in request.work.steps for line in template.preview(target, decode(s.apply))]
        return pb.PreviewResponse(lines=lines)

    def Probe(self, request: pb.ProbeRequest, context: grpc.ServicerContext) -> pb.ProbeResponse:
        target, template = self._known(request.handle, context), self.plugin.template(request.work.template)
        if template is None:
            return pb.ProbeResponse(failure=Failed(pb.CODE_INVALID, "there is no such template").to_wire())
        try:
            steps = [
                pb.StepEvidence(step=s.index, evidence=template.probe(target, decode(s.apply)))
                for s in request.work.steps
            ]
        except OSError as e:
            return pb.ProbeResponse(failure=Failed(pb.CODE_TRANSIENT, str(e)).to_wire())
        return pb.ProbeResponse(steps=steps)

    def Execute(
        self, commands: Iterator[pb.ExecuteRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.ExecuteResponse]:
        talk = Conversation(self, commands)
        with self._lock:
            self._talks.add(talk)
        try:
            yield from talk.responses()
        except Unknown as e:
            context.abort(grpc.StatusCode.NOT_FOUND, str(e))
        finally:
            talk.abandon("the conversation with the host broke off")
            with self._lock:
                self._talks.discard(talk)

    def _known(self, handle: int, context: grpc.ServicerContext) -> Any:
        try:
            return self.target(handle)
        except Unknown as e:
            context.abort(grpc.StatusCode.NOT_FOUND, str(e))

    def register(self, server: grpc.Server) -> None:
        rpc.add_PluginServiceServicer_to_server(self, server)
        rpc.add_TargetSystemServiceServicer_to_server(self, server)
        rpc.add_ChangeServiceServicer_to_server(
            _Without(self, "Ready", "Markers"),  # which only some drivers have
            server,
        )
        # go-plugin asks for health ("\x08\x01" is SERVING), and may ask for the end.
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "grpc.health.v1.Health",
                    {"Check": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"\x08\x01")},
                ),
                grpc.method_handlers_generic_handler(
                    "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(self._end_now)}
                ),
            )
        )

    def _end_now(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        self.stop()
        context.add_callback(self.end)
        return b""


class _Without:
    """Services without some methods, which answer UNIMPLEMENTED."""

    def __init__(self, services: Services, *missing: str) -> None:
        self._services, self._missing = services, missing

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            return getattr(rpc.ChangeServiceServicer(), name)
        return getattr(self._services, name)


class _HostLog(logging.Formatter):
    """Log records as hclog writes them, which the host reads from standard error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"@level": record.levelname.lower(), "@message": record.getMessage(), "@module": record.name}
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _inherited(variable: str) -> int | None:
    number = os.environ.pop(variable, None)
    if number is None:
        return None
    os.set_inheritable(int(number), False)
    return int(number)


def _credentials() -> grpc.ServerCredentials:
    """Reads the keys that the host made for this launch, from the pipe that it handed over."""
    fd = _inherited("FLAMINGOCK_TLS_FD")
    if fd is None:
        sys.exit("the host did not hand over keys (FLAMINGOCK_TLS_FD)")
    with open(fd, "rb") as pipe:
        keys = json.load(pipe)
    return grpc.ssl_server_credentials(
        [(keys["key"].encode(), keys["cert"].encode())],
        root_certificates=keys["clientCA"].encode(),
        require_client_auth=True,  # nobody else can connect
    )


def _die_with_host(services: Services, end: Callable[[], None]) -> None:
    """Ends this process when the host is gone: its end of a pipe closes then."""
    fd = _inherited("FLAMINGOCK_DEATH_FD")
    if fd is None:
        return

    def wait() -> None:
        with open(fd, "rb") as pipe:
            pipe.read()
        services.stop()
        end()

    threading.Thread(target=wait, daemon=True).start()


def serve(plugin: Plugin) -> None:
    """The main function of a plugin's program."""
    if sys.argv[1:] == ["describe"]:
        json.dump(plugin.metadata(), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    if os.environ.get("FLAMINGOCK_PLUGIN") != "flamingock-plugin-v1":
        sys.exit(
            f"This is {plugin.name} {plugin.version}, a plugin of Flamingock: the command `flamingock` starts it "
            "when a change needs it. With the argument `describe` it prints what it offers."
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_HostLog())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the host to act upon

    ended = threading.Event()
    services = Services(plugin, ended.set)
    _die_with_host(services, ended.set)

    def terminate(_signal: int, _frame: Any) -> None:
        services.stop()
        ended.set()

    signal.signal(signal.SIGTERM, terminate)

    # Each Execute holds a thread as long as it lasts.
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=64),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)],
    )
    services.register(server)
    folder = Path(os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or mkdtemp(prefix="flamingock-"))
    socket = folder / f"plugin{os.getpid()}"
    server.add_secure_port(f"unix:{socket}", _credentials())
    server.start()
    # The handshake of go-plugin: its version, ours, and where to connect.
    sys.stdout.write(f"1|{PROTOCOL}|unix|{socket}|grpc\n")
    sys.stdout.flush()

    ended.wait()
    server.stop(grace=0.2).wait()
    socket.unlink(missing_ok=True)
    try:
        folder.rmdir()  # the host may be gone; it is removed only where it is empty
    except OSError:
        pass
    os._exit(0)  # threads of gRPC would keep it alive
