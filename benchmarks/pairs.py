#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What something costs a program on a machine that is never quiet: pairs.py ALONE WITH

Problem: medians of two groups of runs differ by what else happened meanwhile, by ten per cent and more.
Idea: many short runs, alone and with it in turn, compared pair by pair: both of a pair met about the same load. A fifth of
the pairs is cut off at each end; the mean of the others is told with the interval in which 95 of 100 resamplings lie.
Contract: each file has a line a run, in the order of the pairs, whose first two words are user and system seconds
(usage.c). One line is printed: mean, lower and upper end, in per cent.
"""
import random
import statistics
import sys


def seconds(path):
    return [sum(map(float, line.split()[:2])) for line in open(path, encoding="ascii")]


def middle(values):
    cut = len(values) // 5
    return statistics.mean(sorted(values)[cut:len(values) - cut])


random.seed(1)
more = [100 * (with_it / alone - 1) for alone, with_it in zip(seconds(sys.argv[1]), seconds(sys.argv[2]))]
means = sorted(middle(random.choices(more, k=len(more))) for _ in range(4000))
print("%+.1f %+.1f %+.1f" % (middle(more), means[100], means[3899]))
