"""What tracklets and moments say of mined positives, by loops over all pairs of images."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """What is known of the images; -1 is an unknown camera or tracklet, NaN an unknown time."""

    camids: Sequence[int]
    tracklets: Sequence[int]
    timestamps: Sequence[float]
    use_tracklets: bool
    same_time: bool

    def camera(self, i: int) -> int:
        """The camera of image i; if it is not told, the only one that its tracklet number is found in."""
        if self.camids[i] != -1 or self.tracklets[i] == -1 or not self.use_tracklets:
            return self.camids[i]
        others = {c for c, t in zip(self.camids, self.tracklets, strict=True) if t == self.tracklets[i]} - {-1}
        return others.pop() if len(others) == 1 else -1

    def same(self, i: int, j: int) -> bool:
        """One image, or one tracklet of one camera."""
        if i == j:
            return True
        alike = self.tracklets[i] == self.tracklets[j] != -1 and self.camera(i) == self.camera(j)
        return self.use_tracklets and alike

    def together(self, i: int, j: int) -> bool:
        """One camera took both at one moment."""
        one_camera = all(camid == -1 for camid in self.camids)
        camera = one_camera or self.camera(i) == self.camera(j) != -1
        # NaN equals nothing, itself included
        return self.same_time and camera and self.timestamps[i] == self.timestamps[j]

    def apart(self, i: int, j: int) -> bool:
        """Two identities: some image of i's tracklet and some image of j's were taken together."""
        if self.same(i, j):
            return False
        images = range(len(self.camids))
        mine = [a for a in images if self.same(a, i)]
        others = [b for b in images if self.same(b, j)]
        return any(self.together(a, b) for a in mine for b in others)

    def constrained(self, positives: set[int], i: int) -> set[int]:
        """The positives of image i as the constraints have them."""
        images = range(len(self.camids))
        return {j for j in images if self.same(i, j) or (j in positives and not self.apart(i, j))}
