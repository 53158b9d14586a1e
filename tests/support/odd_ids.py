"""Texts that are no ids of genes, and ids that look odd and are ids all the same."""

MISSING = ["nan", "NaN", "NAN", "-nan", "None", "none", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "NaT"]
TRUTH = ["True", "false"]
NUMBERS = ["12", "0", "-1", "3.0", "1e3", ".5", "007", "inf", "-Infinity"]
BLANK = ["", " ", "-", ".", "--", "?", "_"]
OBJECTS = ["<HDF5 object reference>", "<HDF5 object reference (null)>", "<HDF5 region reference>"]
UNDECODABLE = [r"g\xe9", r"\xff\xfe", r"ENSG1\xe9", "g\ufffd", "g\udce9"]

NO_IDS = [*MISSING, *TRUTH, *NUMBERS, *BLANK, *OBJECTS, *UNDECODABLE]

OF_SYMBOLS = ["NANOG", "NA1", "nanos1", "NONO", "NULL1", "INF2", "2L52.1", "1700001C02Rik", "AC012.3", "7SK", "E2"]
OF_OTHERS = ["12_", "1_2", "gé", "E", "T", "x>", "LRG_1"]

ODD_IDS = [*OF_SYMBOLS, *OF_OTHERS]
