"""Settings that would change nothing beside the others: a new run with them is refused."""

from resight.config import Recipe
from resight.errors import ConfigError


def refuse_without_effect(recipe: Recipe) -> None:
    """Refuse settings of a new run that would change nothing; a model that was trained with them can still be opened.

    Raises:
        ConfigError: as said.
    """
    miner, rows = recipe.miner, recipe.memory.rows
    if miner.precision == "bfloat16" and miner.options.get("across_cameras"):
        raise ConfigError(
            'miner.precision must be "float32" with miner.across_cameras = true, which looks for neighbours of each '
            'camera in float32 always, got "bfloat16"; set one of them otherwise'
        )
    if miner.refine != "none" and miner.refine_how == "weigh" and rows == "instance":
        raise ConfigError(
            'miner.refine_how = "weigh" weighs rows of clusters and needs memory.rows = "cluster" or "camera", '
            'got "instance"; set that, or "drop" or "split"'
        )
    if miner.times_within and not any(miner.times):
        raise ConfigError(
            f"miner.times_within = {list(miner.times_within)} is of no effect with miner.times = [0, 0]; give a "
            "weight, such as [0.4, 0.15]"
        )
    if recipe.loss.name == "camera" and rows != "camera":
        raise ConfigError(
            f'loss.name = "camera" tells rows of cameras apart and needs memory.rows = "camera", got "{rows}"; set '
            'that, or loss.name = "infonce"'
        )
    measured = (
        range(1, recipe.train.epochs + 1)[recipe.trust.every - 1 :: recipe.trust.every] if recipe.trust.every else ()
    )
    if recipe.trust.patience and len(measured) <= recipe.trust.patience:
        raise ConfigError(
            f"trust.patience = {recipe.trust.patience} never ends a run of {recipe.train.epochs} epochs that is "
            f"measured each {recipe.trust.every}: fewer measurements must be waited for than there are; lower "
            "trust.every or trust.patience"
        )
