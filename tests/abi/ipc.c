/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: System V shared memory, semaphores with undo, messages by type; POSIX queues by priority and with a signal;
 * each in a namespace of its own.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

#define KEY 0x4f535452

static int child_status(pid_t pid)
{
	int status;

	want(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

CASE(segments_live_until_the_last_detach)
{
	struct shmid_ds d;
	int id = shmget(KEY, 5000, IPC_CREAT | IPC_EXCL | 0600);
	char *a, *b;
	pid_t pid;

	want(id >= 0);
	want_errno(shmget(KEY, 5000, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
	want_errno(shmget(KEY, 5001, 0), EINVAL);
	want_errno(shmget(KEY + 1, 1, 0), ENOENT);
	want_errno(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
	want(shmget(KEY, 0, 0) == id);
	a = shmat(id, NULL, 0);
	b = shmat(id, NULL, SHM_RDONLY);
	want(a != (void *)-1 && b != (void *)-1 && a != b);
	strcpy(a, "commons");
	want(!strcmp(b, "commons"));
	want_errno(mprotect(b, 4096, PROT_READ | PROT_WRITE), EACCES);
	want_errno((long)shmat(id, a, 0), EINVAL);
	want_errno((long)shmat(id, a + 1, 0), EINVAL);
	want(shmat(id, b + 1, SHM_RND | SHM_REMAP) == b);
	want(!shmctl(id, IPC_STAT, &d));
	want(d.shm_nattch == 2 && d.shm_segsz == 5000 && d.shm_cpid == getpid() && (d.shm_perm.mode & 0777) == 0600);
	pid = fork();
	if (!pid) {
		want(!shmctl(id, IPC_STAT, &d) && d.shm_nattch == 4);
		a[1] = 'O';
		_exit(0);
	}
	want(child_status(pid) == 0);
	want(a[1] == 'O');
	want(!shmctl(id, IPC_STAT, &d) && d.shm_nattch == 2 && d.shm_lpid == pid);
	want(!shmctl(id, IPC_RMID, NULL));
	want_errno(shmget(KEY, 0, 0), ENOENT);
	want(!shmctl(id, IPC_STAT, &d) && d.shm_perm.mode & 01000);
	want(!shmdt(b));
	want_errno(shmdt(b), EINVAL);
	want(!strcmp(a, "cOmmons"));
	want(!shmdt(a));
	want_errno(shmctl(id, IPC_STAT, &d), EINVAL);
}

static int sem_do(int id, int num, int op, int flags)
{
	struct sembuf b = { num, op, flags };

	return semop(id, &b, 1);
}

CASE(semaphores_change_together_or_not)
{
	struct sembuf both[] = { { 0, -1, 0 }, { 1, -1, IPC_NOWAIT } };
	unsigned short all[] = { 3, 0 };
	int id = semget(IPC_PRIVATE, 2, 0600);
	struct timespec soon = { 0, 1000000 };

	want(id >= 0);
	want(!semctl(id, 0, SETALL, all));
	want_errno(semop(id, both, 2), EAGAIN);
	want(semctl(id, 0, GETVAL) == 3);
	want_errno(semtimedop(id, both + 1, 1, &soon), EAGAIN);
	both[1].sem_flg = 0;
	want_errno(semtimedop(id, both, 2, &soon), EAGAIN);
	want(!sem_do(id, 1, 2, 0));
	want(!semop(id, both, 2));
	want(!semctl(id, 0, GETALL, all) && all[0] == 2 && all[1] == 1);
	want(semctl(id, 1, GETPID) == getpid());
	want_errno(semctl(id, 0, SETVAL, 32768), ERANGE);
	want_errno(sem_do(id, 0, 32767, 0), ERANGE);
	want_errno(sem_do(id, 2, 1, 0), EFBIG);
	want_errno(semop(id, both, 501), E2BIG);
	want_errno(semop(id, both, 0), EINVAL);
	want_errno(semctl(id, 2, GETVAL), EINVAL);
	want(!semctl(id, 0, IPC_RMID));
	want_errno(semctl(id, 0, GETVAL), EINVAL);
}

CASE(semaphore_waiters_and_undo)
{
	int id = semget(IPC_PRIVATE, 1, 0600), undone;
	pid_t pid, waiter = fork();

	if (!waiter)
		_exit(sem_do(id, 0, -5, 0) ? errno : 0);
	while (semctl(id, 0, GETNCNT) != 1)
		usleep(1000);
	pid = fork();
	if (!pid) {
		sem_do(id, 0, 3, SEM_UNDO);
		_exit(0);
	}
	want(child_status(pid) == 0);
	undone = semctl(id, 0, GETVAL);
	want(undone == 0);
	want(!sem_do(id, 0, 6, 0));
	want(child_status(waiter) == 0);
	want(semctl(id, 0, GETVAL) == 1);
	waiter = fork();
	if (!waiter)
		_exit(sem_do(id, 0, 0, 0) ? errno : 0);
	while (semctl(id, 0, GETZCNT) != 1)
		usleep(1000);
	want(!semctl(id, 0, IPC_RMID));
	want(child_status(waiter) == EIDRM);
}

struct message {
	long type;
	char text[64];
};

CASE(messages_by_type)
{
	struct message m = { 3, "three" };
	struct msqid_ds d;
	int id = msgget(IPC_PRIVATE, 0600);
	pid_t pid;

	want(id >= 0);
	want(!msgsnd(id, &m, 6, 0));
	m = (struct message){ 1, "one" };
	want(!msgsnd(id, &m, 4, 0));
	m = (struct message){ 2, "two" };
	want(!msgsnd(id, &m, 4, 0));
	m.type = 0;
	want_errno(msgsnd(id, &m, 4, 0), EINVAL);
	want_errno(msgrcv(id, &m, 64, 9, IPC_NOWAIT), ENOMSG);
	want_errno(msgrcv(id, &m, 2, 3, IPC_NOWAIT), E2BIG);
	want(msgrcv(id, &m, 64, -2, 0) == 4 && m.type == 1 && !strcmp(m.text, "one"));
	want(msgrcv(id, &m, 64, 3, MSG_EXCEPT) == 4 && m.type == 2);
	want(!msgctl(id, IPC_STAT, &d) && d.msg_qnum == 1 && d.msg_lspid == getpid() && d.msg_qbytes == 16384);
	want(msgrcv(id, &m, 2, 0, MSG_NOERROR) == 2 && m.type == 3);
	pid = fork();
	if (!pid)
		_exit(msgrcv(id, &m, 64, 7, 0) == 5 && !strcmp(m.text, "wait") ? 0 : 1);
	m = (struct message){ 8, "other" };
	want(!msgsnd(id, &m, 6, 0));
	m = (struct message){ 7, "wait" };
	want(!msgsnd(id, &m, 5, 0));
	want(child_status(pid) == 0);
	d.msg_qbytes = 6;
	want(!msgctl(id, IPC_SET, &d));
	want_errno(msgsnd(id, &m, 5, IPC_NOWAIT), EAGAIN);
	pid = fork();
	if (!pid)
		_exit(msgsnd(id, &m, 5, 0) ? errno : 0);
	usleep(10000);
	want(!msgctl(id, IPC_RMID, NULL));
	want(child_status(pid) == EIDRM);
	want_errno(msgsnd(id, &m, 5, 0), EINVAL);
}

CASE(namespaces_have_their_own)
{
	int id = msgget(KEY, IPC_CREAT | 0600);
	pid_t pid = fork();

	want(id >= 0);
	if (!pid) {
		want(!unshare(CLONE_NEWIPC));
		want_errno(msgget(KEY, 0), ENOENT);
		want(msgget(KEY, IPC_CREAT | 0600) >= 0);
		want(shmget(KEY, 4096, IPC_CREAT | 0600) >= 0);
		_exit(0);
	}
	want(child_status(pid) == 0);
	want(msgget(KEY, 0) == id);
	want_errno(shmget(KEY, 0, 0), ENOENT);
	want(!msgctl(id, IPC_RMID, NULL));
}

static volatile sig_atomic_t told;
static volatile int told_value;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	told = info->si_code == SI_MESGQ ? sig : -1;
	told_value = info->si_value.sival_int;
}

CASE(posix_queues)
{
	struct mq_attr a = { .mq_maxmsg = 3, .mq_msgsize = 16 }, got;
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42 };
	struct timespec past = { 1, 0 };
	struct pollfd p;
	char text[16];
	unsigned prio;
	mqd_t q;

	mq_unlink("/ostrom");
	want_errno(mq_open("/ostrom", O_RDWR), ENOENT);
	q = mq_open("/ostrom", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &a);
	want(q >= 0);
	want_errno(mq_open("/ostrom", O_RDWR | O_CREAT | O_EXCL, 0600, NULL), EEXIST);
	want(!mq_getattr(q, &got) && got.mq_maxmsg == 3 && got.mq_msgsize == 16 && got.mq_flags == O_NONBLOCK);
	p = (struct pollfd){ q, POLLIN | POLLOUT, 0 };
	want(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
	sigaction(SIGUSR1, &sa, NULL);
	want(!mq_notify(q, &ev));
	want_errno(mq_notify(q, &ev), EBUSY);
	want(!mq_send(q, "low", 4, 1));
	want(told == SIGUSR1 && told_value == 42);
	want(!mq_send(q, "high", 5, 9));
	want(!mq_send(q, "low2", 5, 1));
	want_errno(mq_send(q, "full", 5, 1), EAGAIN);
	want_errno(mq_send(q, "0123456789abcdef", 17, 1), EMSGSIZE);
	want_errno(mq_receive(q, text, 15, NULL), EMSGSIZE);
	want(mq_receive(q, text, 16, &prio) == 5 && prio == 9 && !strcmp(text, "high"));
	want(mq_receive(q, text, 16, &prio) == 4 && !strcmp(text, "low"));
	want(mq_receive(q, text, 16, &prio) == 5 && !strcmp(text, "low2"));
	want_errno(mq_receive(q, text, 16, NULL), EAGAIN);
	got.mq_flags = 0;
	want(!mq_setattr(q, &got, NULL));
	want_errno(mq_timedreceive(q, text, 16, NULL, &past), ETIMEDOUT);
	want(!mq_unlink("/ostrom"));
	want_errno(mq_unlink("/ostrom"), ENOENT);
	want(!mq_close(q));
}

int main(void)
{
	RUN(segments_live_until_the_last_detach);
	RUN(semaphores_change_together_or_not);
	RUN(semaphore_waiters_and_undo);
	RUN(messages_by_type);
	RUN(namespaces_have_their_own);
	RUN(posix_queues);
	return abi_status();
}
