"""The form of every proof: id | claim | value | bound | ok."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim. `id` is for programs and never changes its meaning; `bound` is
    what `value` was held against."""

    id: str
    claim: str
    value: float
    bound: float
    ok: bool

    def line(self):
        verdict = "ok" if self.ok else "FAILED"
        return (f"{self.id} | {self.claim} | {self.value:.6g} | "
                f"{self.bound:.6g} | {verdict}")


class Claims:
    """Claims in the order they were decided."""

    def __init__(self):
        self.claims = []

    def add(self, id, claim, value, bound, ok):
        """Adds a claim and prints it at once."""
        self.claims.append(Claim(id, claim, value, bound, bool(ok)))
        print(self.claims[-1].line(), flush=True)

    def equal(self, id, claim, value, bound):
        self.add(id, claim, value, bound, value == bound)

    def at_most(self, id, claim, value, bound):
        self.add(id, claim, value, bound, value <= bound)

    def at_least(self, id, claim, value, bound):
        self.add(id, claim, value, bound, value >= bound)

    def read(self, path):
        """Adds what another program wrote, which has printed it itself."""
        self.claims += [Claim(**claim) for claim in json.loads(path.read_text())]

    def write(self, path):
        path.write_text(
            json.dumps([dataclasses.asdict(claim) for claim in self.claims],
                       indent=2) + "\n")

    def hold(self):
        """Whether there are claims and none falls short."""
        return bool(self.claims) and all(claim.ok for claim in self.claims)
