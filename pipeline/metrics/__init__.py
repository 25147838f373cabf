"""Arrays in, numbers out: every measure that clipscope reports, with its formula and its source."""
