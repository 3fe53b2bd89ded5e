"""What a converted network must meet, and what to say where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from convert.graph import ENDS
from convert.words import LABELS, TITLES, counts, photos
from models.errors import GateError
from models.evaluation import paired
from models.manifest import Comparison, Gate, Quantization, Scheme

MAX_DROP = 0.5
"""Points of accuracy that a conversion may cost unless `--max-drop` says otherwise."""
ENOUGH, TIMES = 200, 3
"""From so many photos on the loss as counted is looked at too: it may be so many times `--max-drop`."""
LOADS, INTEGER, PIECES = "runs in a process of its own", "no float tensor", "one piece for XNNPACK"
ACCURACY, RECALL, SPEED = "accuracy", "recall of each class", "not slower than its float"
LEAST_MS = 0.05
"""Milliseconds an invoke below which what each invoke costs anyhow (0.002 ms on a PC) blurs which file is faster."""
FAR_SLOWER = 1.5
"""Times its float's time. MobileNets stay below it where x86-64 has no VNNI; what takes this is slow anywhere."""
SHOWN_CLASSES, SHOWN_LAYERS = 5, 5


def judge(found: Quantization, max_drop: float = MAX_DROP) -> tuple[Gate, ...]:
    """Hold a conversion against the gates of its scheme and target.

    Accuracy and recall are missed where more than `max_drop` is lost at 95 %: the lower bound of the paired interval
    (`models.evaluation.paired`) lies above it. From 200 photos on they are missed too where the loss as counted is
    more than three times that. Fewer photos cannot tell more, so there they are never met: missed, or not known.

    Args:
        found: what is known of the conversion; its own `gates` are not looked at.
        max_drop: in points (hundredths of the photos).
    """
    # A file that does not is refused before there is anything to judge (`convert.trial`).
    gates = [Gate(LOADS, True, "yes", "yes")]
    if found.scheme == "int8":
        gates.append(_integer(found.float_tensors))
    if found.scheme == "int8" and found.target == "xnnpack":
        gates.append(_pieces(found))
    gates += [_accuracy(lighting, found.compared, max_drop) for lighting in TITLES]
    gates.append(_recall(found.compared, max_drop))
    if found.scheme == "dynamic" or (found.scheme == "int8" and found.target == "xnnpack"):
        gates.append(_speed(found))
    return tuple(gates)


def missed(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates that were not met; those that cannot be told are not among them."""
    return tuple(gate for gate in gates if gate.met is False)


def failure(
    gates: Sequence[Gate], scheme: Scheme, layers: Sequence[tuple[str, float]] = (), goes_on: bool = False
) -> GateError:
    """The error that ends a conversion with missed gates.

    Args:
        gates: as `judge` gives them.
        scheme: of the conversion.
        layers: name, and how far its rounding moves the logits as a share of their spread, of each layer, the worst
            first; named where photos were lost.
        goes_on: down the ladder: it is not the end, and nothing is to be done.
    """
    wrong = missed(gates)
    lines = [f"expected {LABELS[scheme]} to meet its {len(gates)} gates, found {len(wrong)} missed"
             f"{'' if goes_on else '; nothing is written'}"]
    lines += [f"  {gate.name}: found {gate.found}; allowed {gate.allowed}" for gate in wrong]
    photos_lost = any(gate.name == RECALL or gate.name.startswith(ACCURACY) for gate in wrong)
    if layers and photos_lost:
        lines.append("layers that lose most (how far their rounding moves the logits, as a share of their spread, "
                     "before any fine-tuning):")
        lines += [f"  {error:6.1%}  {name}" for name, error in layers[:SHOWN_LAYERS]]
    steps = () if goes_on else _next_steps({gate.name for gate in wrong}, scheme)
    return GateError("\n".join([*lines, *(f"next: {step}" for step in steps)]))


def _next_steps(wrong: set[str], scheme: Scheme) -> Iterator[str]:
    if RECALL in wrong or any(name.startswith(ACCURACY) for name in wrong):
        yield {
            "int8": "--fine-tune always, if it was not; calibrate with photos of your own (--calibration DIR)",
            "int16x8": "calibrate with more pictures (--samples N, --calibration DIR)",
            "dynamic": "--quantize int8, which measures the ranges of the activations beforehand",
        }.get(scheme, "train the model again: floating-point numbers should lose nothing")
    if {PIECES, SPEED} & wrong:
        yield ("--quantize int8 or float16: XNNPACK does not run all layers of a dynamic network" if scheme == "dynamic"
               else "--for any, if it is to run on something else than XNNPACK; or train a network of other layers")
    if INTEGER in wrong:
        yield "train a network of other layers"
    if scheme == "int8":
        yield "else --on-miss ladder, which writes the model as float16 instead"


@dataclass(frozen=True, slots=True)
class _Loss:
    """What photos were lost less those gained, as a share of `n`; `low` and `high` at 95 %."""

    n: int
    seen: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Comparison, n: int, name: str | None = None) -> _Loss:
        """Of the `n` photos of one class, or of all photos."""
        changed = [each for each in found.changed if name in (None, each.label)]
        lost, gained = (sum(answer == label for answer, label in pairs) for pairs in (
            [(each.before, each.label) for each in changed], [(each.after, each.label) for each in changed]))
        return cls(n, (lost - gained) / n, *paired(lost, gained, n))

    def met(self, max_drop: float) -> bool | None:
        """Whether it is within `max_drop` points; None where too few photos cannot tell."""
        # A hair above: 3 of 200 photos are 1.5 points, whatever the last bit says.
        most = max_drop / 100 + 1e-9
        if self.low > most or (self.n >= ENOUGH and self.seen > TIMES * most):
            return False
        return True if self.n >= ENOUGH else None

    def __str__(self) -> str:
        return (f"loss of {_points(self.seen)} points (95 %: {_points(self.low)} to {_points(self.high)}), "
                f"{photos(self.n)}")


def _points(share: float) -> str:
    # Adding 0 takes the sign from a -0.0.
    return f"{round(share * 100, 1) + 0:.1f}"


def _accuracy(lighting: str, compared: Mapping[str, Comparison], max_drop: float) -> Gate:
    name = f"{ACCURACY} {TITLES[lighting]}"
    if lighting not in compared:
        return Gate(name, None, "not compared", _allowed(max_drop, 0))
    found = compared[lighting]
    loss = _Loss.of(found, found.n)
    met = loss.met(max_drop)
    unclear = f": a loss of up to {_points(loss.high)} points would not show" if met is None else ""
    return Gate(name, met, f"{loss}{unclear}", _allowed(max_drop, found.n))


def _recall(compared: Mapping[str, Comparison], max_drop: float) -> Gate:
    """Of all classes in all lightings: those that lost too much, or else the widest loss that would not show."""
    losses = [(_Loss.of(found, metrics.n, name), f"{name} {TITLES[lighting]}") for lighting, found in compared.items()
              for name, metrics in found.float_per_class.items() if metrics.n]
    allowed = _allowed(max_drop, max((loss.n for loss, _ in losses), default=0))
    if not losses:
        return Gate(RECALL, None, "not compared", allowed)
    wrong = sorted((each for each in losses if each[0].met(max_drop) is False), key=lambda each: -each[0].seen)
    if wrong:
        texts = [f"{name} {loss}" for loss, name in wrong[:SHOWN_CLASSES]]
        more = [f"{len(wrong) - SHOWN_CLASSES} more"] if len(wrong) > SHOWN_CLASSES else []
        return Gate(RECALL, False, "; ".join([*texts, *more]), allowed)
    unclear = [each for each in losses if each[0].met(max_drop) is None]
    if not unclear:
        return Gate(RECALL, True, "no class lost more", allowed)
    loss, name = max(unclear, key=lambda each: each[0].high)
    return Gate(RECALL, None, f"no class lost more for sure; of {name} ({photos(loss.n)}) a loss of up to "
                              f"{_points(loss.high)} points would not show", allowed)


def _allowed(max_drop: float, n: int) -> str:
    return f"lower bound at most {max_drop:g}" + (f", loss at most {TIMES * max_drop:g}" if n >= ENOUGH else "")


def _integer(tensors: int | None) -> Gate:
    return Gate(INTEGER, None if tensors is None else tensors == 0, "not counted" if tensors is None else str(tensors),
                "0")


def _pieces(found: Quantization) -> Gate:
    allowed = f"1, outside only {' and '.join(sorted(ENDS))}"
    if found.partitions is None:
        return Gate(PIECES, None, "this runtime does not tell", allowed)
    return Gate(PIECES, found.partitions == 1 and set(found.outside) <= ENDS,
                f"{found.partitions} (outside: {counts(found.outside)})", allowed)


def _speed(found: Quantization) -> Gate:
    if found.speed is None:
        return Gate(SPEED, None, "not measured", "1.00 x its time")
    seen, longer = f"{found.speed.ratio:.2f} x its time", max(found.speed.float_ms, found.speed.ms)
    if longer < LEAST_MS:
        return Gate(SPEED, None, f"{seen}, but in {longer:.3f} ms an invoke: mostly what every invoke costs",
                    "1.00 x its time")
    # As it is printed: one measurement differs from the next by a hundredth.
    met = round(found.speed.ratio, 2) <= 1
    if not met and found.speed.vnni is False and found.speed.ratio < FAR_SLOWER:
        return Gate(SPEED, None, f"{seen}, but on a processor without VNNI, which XNNPACK's int8 for x86-64 is made "
                                 f"for: that says nothing of the device", "1.00 x its time")
    return Gate(SPEED, met, seen, "1.00 x its time")
