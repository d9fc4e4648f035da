/* SPDX-License-Identifier: MIT
 *
 * Problem: time(1) tells hundredths of a second, and the programs that are compared take a few of them.
 *
 * Idea: run the command, silently; append its user, system and elapsed seconds to the microsecond, and its peak memory
 * in KB, as a line to a file. A small program, since the peak that wait4 tells is at least the parent's.
 *
 * Contract: usage FILE COMMAND...; exit status of the command. Locks: none.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double start = now(), elapsed;
	struct rusage r;
	int status, null;
	FILE *out;
	pid_t pid;

	if (argc < 3)
		return 2;
	pid = fork();
	if (!pid) {
		null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &r) != pid)
		return 2;
	elapsed = now() - start;
	out = fopen(argv[1], "a");
	if (!out)
		return 2;
	fprintf(out, "%.6f %.6f %.6f %ld\n", seconds(r.ru_utime), seconds(r.ru_stime), elapsed, r.ru_maxrss);
	return fclose(out) || !WIFEXITED(status) ? 2 : WEXITSTATUS(status);
}
