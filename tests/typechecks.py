"""The checker that pytest runs over every signature of the package: beartype, with whole numbers allowed as floats."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
