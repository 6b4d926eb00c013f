"""Commands that measure every number our documents quote; each prints machine, versions and figures."""
