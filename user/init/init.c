/* SPDX-License-Identifier: MIT
 *
 * Problem: somebody must be process 1: mount the usual file systems, give the user a shell or run
 * one command, and tell the outside how that command ended, on Ostrom and, for comparison, on
 * Linux.
 *
 * Idea: /etc/ostrom/cmd holds a command as NUL-separated words. With it, the command runs on the
 * first serial line with output processing off (so that its bytes arrive unchanged), and its status
 * goes out through the debug port 0xe9 as a line "OSTROM-EXIT n", which ./run reads; /dev/port is
 * there on both kernels. Without it, a shell runs on the console, and its end powers the machine
 * off.
 *
 * With root=/dev/NAME on the kernel's command line the root is an ext4 file system there; what came in the archive is
 * seen on its /mnt. It is left read only, so that it is clean afterwards.
 *
 * Contract: status of a signal is 128 + its number; 127 not found, 126 not executable. Parameters
 * on the kernel's command line: ostrom.winsize=ROWSxCOLUMNS, ostrom.tty=NAME (default ttyS0), ostrom.term=TERM,
 * ostrom.resize=NAME (a serial line on which ROWSxCOLUMNS comes whenever the window outside changes).
 *
 * Locks: none; one thread a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define COMMAND_FILE "/etc/ostrom/cmd"
#define MAX_WORDS    512

static char term[40] = "TERM=linux";
static char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				     "HOME=/root",
				     term,
				     "USER=root",
				     "PS1=ostrom:\\w# ",
				     NULL };

static void mount_one(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, options) < 0 && errno != EBUSY)
		fprintf(stderr, "init: mount %s on %s: %s\n", type, where, strerror(errno));
}

static void mount_all(void)
{
	static const char *const links[][2] = { { "/proc/self/fd", "/dev/fd" },
						{ "/proc/self/fd/0", "/dev/stdin" },
						{ "/proc/self/fd/1", "/dev/stdout" },
						{ "/proc/self/fd/2", "/dev/stderr" } };

	mount_one("sysfs", "/sys", NULL);
	mount_one("tracefs", "/sys/kernel/tracing", NULL);
	mount_one("debugfs", "/sys/kernel/debug", NULL);
	mount_one("tracefs", "/sys/kernel/debug/tracing", NULL);
	mount_one("devtmpfs", "/dev", NULL);
	mount_one("devpts", "/dev/pts", "mode=620,ptmxmode=666");
	mount_one("tmpfs", "/dev/shm", NULL);
	mount_one("tmpfs", "/tmp", NULL);
	mount_one("tmpfs", "/run", NULL);
	for (unsigned i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			fprintf(stderr, "init: link %s: %s\n", links[i][1], strerror(errno));
}

/* Copies the value of name=VALUE on the kernel's command line; false if it is not there. */
static int parameter(const char *name, char *value, size_t size)
{
	char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	size_t len = strlen(name);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return 0;
	line[n] = '\0';
	for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
		if (!strncmp(word, name, len) && word[len] == '=') {
			snprintf(value, size, "%s", word + len + 1);
			return 1;
		}
	return 0;
}

/* The terminal outside may be one that the root has never heard of: then most of them are like xterm. */
static void set_term(void)
{
	static const char *const places[] = { "/lib/terminfo", "/usr/share/terminfo" };
	char path[96], *name = term + 5;

	if (!parameter("ostrom.term", name, sizeof(term) - 5) || access(places[0], F_OK) < 0)
		return;
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%c/%s", places[i], *name, name);
		if (!access(path, F_OK))
			return;
	}
	strcpy(name, "xterm-256color");
}

static void set_size(int fd, const char *text)
{
	struct winsize w = { 0 };

	if (sscanf(text, "%hux%hu", &w.ws_row, &w.ws_col) == 2)
		ioctl(fd, TIOCSWINSZ, &w);
}

/* A process that listens for the window's sizes. */
static void follow_size(const char *tty)
{
	char name[32], path[48], line[32];
	struct termios t;
	int from, to;
	ssize_t n;

	if (!parameter("ostrom.resize", name, sizeof(name)) || fork())
		return;
	snprintf(path, sizeof(path), "/dev/%s", name);
	from = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	to = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (from < 0 || to < 0)
		_exit(1);
	if (!tcgetattr(from, &t)) {
		t.c_lflag &= ~(ECHO | ECHONL);
		tcsetattr(from, TCSANOW, &t);
	}
	while ((n = read(from, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		set_size(to, line);
	}
	_exit(0);
}

/* Makes the terminal the controlling one of a new session and standard input, output and error. */
static void take_terminal(const char *path, int raw_output)
{
	struct termios t;
	char value[32];
	int fd;

	setsid();
	fd = open(path, O_RDWR);
	if (fd < 0)
		return;
	ioctl(fd, TIOCSCTTY, 0);
	if (raw_output && !tcgetattr(fd, &t)) {
		t.c_oflag &= ~OPOST;
		t.c_lflag &= ~(ECHO | ECHONL);
		tcsetattr(fd, TCSANOW, &t);
	}
	if (parameter("ostrom.winsize", value, sizeof(value)))
		set_size(fd, value);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void run_child(char *const argv[], const char *tty, int raw_output)
{
	take_terminal(tty, raw_output);
	if (chdir("/root") < 0)
		chdir("/");
	execvpe(argv[0], argv, environment);
	fprintf(stderr, "init: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Runs argv and reaps everything until it has ended. */
static int run(char *const argv[], const char *tty, int raw_output)
{
	int status;
	pid_t pid = fork(), got;

	if (pid < 0)
		return 126;
	if (!pid)
		run_child(argv, tty, raw_output);
	do {
		got = wait(&status);
	} while (got != pid && (got >= 0 || errno == EINTR));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What was written must have left before the machine is off. */
static void drain(const char *tty)
{
	int fd = open(tty, O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && !tcdrain(fd))
		close(fd);
}

static void report(int status)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "\nOSTROM-EXIT %d\n", status);
	int fd = open("/dev/port", O_WRONLY | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < n; i++)
		if (pwrite(fd, &line[i], 1, 0xe9) != 1)
			break;
}

static int load_command(char *argv[])
{
	static char text[65536];
	int fd = open(COMMAND_FILE, O_RDONLY | O_CLOEXEC), words = 0;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	for (ssize_t at = 0; at < n && words < MAX_WORDS - 1; at += (ssize_t)strlen(text + at) + 1)
		argv[words++] = text + at;
	argv[words] = NULL;
	return words;
}

/* The name servers that the kernel learnt from DHCP, for a root that has none of its own. */
static void write_resolver(void)
{
	char text[1024];
	int from = open("/proc/net/pnp", O_RDONLY | O_CLOEXEC), to;
	ssize_t n = from < 0 ? -1 : read(from, text, sizeof(text));

	if (from >= 0)
		close(from);
	if (n <= 0)
		return;
	mkdir("/etc", 0755);
	to = open("/etc/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (to < 0)
		return;
	if (write(to, text, (size_t)n) != n)
		fprintf(stderr, "init: /etc/resolv.conf: %s\n", strerror(errno));
	close(to);
}

/* The disk becomes the root. */
static void enter_root(const char *device)
{
	mount_one("devtmpfs", "/dev", NULL);
	mkdir("/newroot", 0755);
	if (mount(device, "/newroot", "ext4", 0, "errors=remount-ro") < 0) {
		fprintf(stderr, "init: mount %s: %s\n", device, strerror(errno));
		return;
	}
	if (mount("/", "/newroot/mnt", NULL, MS_BIND, NULL) < 0)
		fprintf(stderr, "init: /mnt: %s\n", strerror(errno));
	if (chdir("/newroot") < 0 || chroot(".") < 0)
		fprintf(stderr, "init: chroot: %s\n", strerror(errno));
}

/* Nobody writes any more, and the disk is whole. */
static void leave_root(void)
{
	kill(-1, SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
		fprintf(stderr, "init: the root stays writable: %s\n", strerror(errno));
}

int main(void)
{
	static char *argv[MAX_WORDS];
	static char *shell[] = { "/bin/sh", "-l", NULL };
	char name[32] = "ttyS0", tty[48], root[64] = "";
	int status, words = load_command(argv);

	mount_one("proc", "/proc", NULL);
	if (parameter("root", root, sizeof(root))) {
		enter_root(root);
		mount_one("proc", "/proc", NULL);
	}
	mount_all();
	if (!access("/bin/bash", X_OK))
		shell[0] = "/bin/bash";
	set_term();
	parameter("ostrom.tty", name, sizeof(name));
	snprintf(tty, sizeof(tty), "/dev/%s", name);
	sethostname("ostrom", 6);
	write_resolver();
	follow_size(tty);
	status = words ? run(argv, tty, 1) : run(shell, tty, 0);
	sync();
	drain(tty);
	if (*root)
		leave_root();
	report(status);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
