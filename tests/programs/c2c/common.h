/* SPDX-License-Identifier: MIT
 *
 * Two threads on two CPUs, each running its part until the time is over. A test program defines part(0|1) loops through
 * RUN and checks nothing: it is what a recording is made of.
 */
#ifndef C2C_COMMON_H
#define C2C_COMMON_H

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* Runs a on CPU 0 and b on CPU 1. */
__attribute__((unused)) static void run_two(void *(*a)(void *), void *pa, void *(*b)(void *), void *pb)
{
	pthread_t t[2];

	pthread_create(&t[0], NULL, a, pa);
	pthread_create(&t[1], NULL, b, pb);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
}

static long rounds(int argc, char **argv)
{
	return argc > 1 ? atol(argv[1]) : 100000000;
}

#endif
