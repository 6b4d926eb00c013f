"""The HTML report of a corpus: `python -m corpus.report`.

__main__.py    the command
data.py        what the report shows, added up over the decisions
page.py        the page
charts.py      bars and histograms as SVG
benchmarks.py  the section on benchmarks
speed.py       the speed of each step against the bounds of the machine
"""
