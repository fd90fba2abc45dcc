// SPDX-License-Identifier: GPL-2.0
/*
 * stall_fault: makes the kernel states that the exporter must recognise. For throw-away virtual machines only.
 *
 * One command per write to /proc/stall_fault:
 *
 *   [thread CPU] hold rtnl|cgroup            SECONDS sleep|burn|debt
 *   [thread CPU] hold mmap|exec          PID SECONDS sleep|burn|debt
 *   [thread CPU] park                        SECONDS uninterruptible|killable|flap
 *   [thread CPU] spin                        SECONDS preemptible|nopreempt|bursts
 *   release                                  ends every fault early
 *
 * Who does it: the writer, whose write returns when it is over, so that the holder is a task with a name, a control
 * group and a quota; or, with `thread`, a kernel thread bound to that CPU. How a lock is held:
 *
 *   sleep  in one uninterruptible wait
 *   burn   runnable; lets itself be preempted, hence throttled, inside the lock
 *   debt   burns SECONDS without a chance to be throttled, then looks at the scheduler once. Its group now owes the
 *          whole time, so at a quota of 7 % it is not run for 14 times as long, with the lock. This is how a task that
 *          is not even busy starves in the kernel.
 *
 * How a CPU is spun on: preemptible gives way when asked; nopreempt never does; bursts do not for 400 ms at a time, in
 * stretches without softirqs, as a read of a long file under _bh locks does.
 *
 * Reading the file gives the truth: `id tid comm event CLOCK_MONOTONIC-ns command`, where the event is start,
 * acquired, released or end. The same lines go to the kernel log.
 *
 * There is no module_exit: no sleeper can be left without its code, and the machine ends with the incident anyway.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/proc_fs.h>
#include <linux/rtnetlink.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* Whatever the script forgets, the fault ends. */
#define SECONDS_MAX 600
#define COMMAND_MAX 64
#define TRUTHS_MAX 512

enum manner { SLEEP, BURN, DEBT, UNINTERRUPTIBLE, KILLABLE, FLAP, PREEMPTIBLE, NOPREEMPT, BURSTS };

static const char *const manners[] = {
	"sleep", "burn", "debt", "uninterruptible", "killable", "flap", "preemptible", "nopreempt", "bursts",
};

struct fault;

/* What can be held. `take` and `give` run in the same task. */
struct lock {
	const char *name;
	bool wants_pid;
	int (*take)(struct fault *fault);
	void (*give)(struct fault *fault);
};

struct fault {
	int id;
	char command[COMMAND_MAX];
	const struct lock *lock;	/* NULL for park and spin */
	enum manner manner;
	unsigned int seconds;
	struct task_struct *target;	/* of mmap and exec; we hold a reference */
	struct mm_struct *mm;
};

static DECLARE_COMPLETION(released);

/* --- the truth --------------------------------------------------------------------------------------------------- */

struct truth {
	u64 at;
	int id;
	pid_t tid;
	const char *event;
	char comm[TASK_COMM_LEN];
	char command[COMMAND_MAX];
};

static struct truth truths[TRUTHS_MAX];
static unsigned int truth_count;
static DEFINE_SPINLOCK(truth_lock);

static void tell(const struct fault *fault, const char *event)
{
	struct truth truth = {
		.at = ktime_get_ns(), .id = fault->id, .tid = task_pid_nr(current), .event = event,
	};

	/* Our own name: nobody changes it while we are here. */
	strscpy(truth.comm, current->comm, sizeof(truth.comm));
	strscpy(truth.command, fault->command, sizeof(truth.command));
	spin_lock(&truth_lock);
	if (truth_count < TRUTHS_MAX)
		truths[truth_count++] = truth;
	spin_unlock(&truth_lock);
	pr_info("%d %d %s %s %llu %s\n", truth.id, truth.tid, truth.comm, event, truth.at, truth.command);
}

static int truth_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	spin_lock(&truth_lock);
	for (i = 0; i < truth_count; i++)
		seq_printf(seq, "%d %d %s %s %llu %s\n", truths[i].id, truths[i].tid, truths[i].comm,
			   truths[i].event, truths[i].at, truths[i].command);
	spin_unlock(&truth_lock);
	return 0;
}

/* --- locks ------------------------------------------------------------------------------------------------------- */

static struct mutex *cgroup_mutex_address;

/*
 * cgroup_mutex is not exported, and since 5.7 nor is kallsyms_lookup_name. A kprobe may still ask for a function by
 * name, so one asks for the lookup.
 */
static struct mutex *find_cgroup_mutex(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);

	if (register_kprobe(&probe) < 0)
		return NULL;
	lookup = (unsigned long (*)(const char *))probe.addr;
	unregister_kprobe(&probe);
	return (struct mutex *)lookup("cgroup_mutex");
}

static int take_rtnl(struct fault *fault)
{
	rtnl_lock();
	return 0;
}

static void give_rtnl(struct fault *fault)
{
	rtnl_unlock();
}

static int take_cgroup(struct fault *fault)
{
	if (!cgroup_mutex_address)
		return -EOPNOTSUPP;
	mutex_lock(cgroup_mutex_address);
	return 0;
}

static void give_cgroup(struct fault *fault)
{
	mutex_unlock(cgroup_mutex_address);
}

static int take_mmap(struct fault *fault)
{
	fault->mm = get_task_mm(fault->target);
	if (!fault->mm)
		return -ESRCH;
	mmap_write_lock(fault->mm);
	return 0;
}

static void give_mmap(struct fault *fault)
{
	mmap_write_unlock(fault->mm);
	mmput(fault->mm);
}

static int take_exec(struct fault *fault)
{
	down_write(&fault->target->signal->exec_update_lock);
	return 0;
}

static void give_exec(struct fault *fault)
{
	up_write(&fault->target->signal->exec_update_lock);
}

static const struct lock locks[] = {
	{ .name = "rtnl", .take = take_rtnl, .give = give_rtnl },
	{ .name = "cgroup", .take = take_cgroup, .give = give_cgroup },
	{ .name = "mmap", .wants_pid = true, .take = take_mmap, .give = give_mmap },
	{ .name = "exec", .wants_pid = true, .take = take_exec, .give = give_exec },
};

/* --- what one does while time passes ----------------------------------------------------------------------------- */

static bool over(u64 deadline)
{
	return ktime_get_ns() >= deadline || completion_done(&released) || fatal_signal_pending(current);
}

/* One wait, never a loop of short ones: each wake-up would be progress, and progress is not a stall. */
static void sleep_once(unsigned int seconds)
{
	wait_for_completion_timeout(&released, seconds * HZ);
}

static void flap(u64 deadline)
{
	while (!over(deadline)) {
		schedule_timeout_uninterruptible(msecs_to_jiffies(100));
		usleep_range(500, 1000);
	}
}

static void burn(u64 deadline)
{
	while (!over(deadline)) {
		cpu_relax();
		cond_resched();
	}
}

/* The detectors of the kernel are told that all is well: it is the exporter that is tried here. */
static void burn_unpreempted(u64 deadline)
{
	preempt_disable();
	while (!over(deadline)) {
		touch_nmi_watchdog();
		cpu_relax();
	}
	preempt_enable();
}

static void burn_in_bursts(u64 deadline)
{
	while (!over(deadline)) {
		u64 end = ktime_get_ns() + 400 * NSEC_PER_MSEC;

		preempt_disable();
		while (ktime_get_ns() < end) {
			u64 part = ktime_get_ns() + 40 * NSEC_PER_MSEC;

			local_bh_disable();
			while (ktime_get_ns() < part)
				cpu_relax();
			/* Runs what is pending, and leaves the rest to ksoftirqd, which does not get this CPU. */
			local_bh_enable();
		}
		preempt_enable();
		schedule_timeout_interruptible(msecs_to_jiffies(50));
	}
}

static void pass_time(const struct fault *fault)
{
	u64 deadline = ktime_get_ns() + (u64)fault->seconds * NSEC_PER_SEC;

	switch (fault->manner) {
	case SLEEP:
	case UNINTERRUPTIBLE:
		sleep_once(fault->seconds);
		break;
	case KILLABLE:
		wait_for_completion_killable_timeout(&released, fault->seconds * HZ);
		break;
	case FLAP:
		flap(deadline);
		break;
	case BURN:
	case PREEMPTIBLE:
		burn(deadline);
		break;
	case DEBT:
		burn_unpreempted(deadline);
		/* Away, until the group has paid. */
		schedule();
		break;
	case NOPREEMPT:
		burn_unpreempted(deadline);
		break;
	case BURSTS:
		burn_in_bursts(deadline);
		break;
	}
}

static void perform(struct fault *fault)
{
	tell(fault, "start");
	if (fault->lock) {
		int error = fault->lock->take(fault);

		if (error) {
			pr_err("%s: error %d\n", fault->command, error);
			tell(fault, "end");
			return;
		}
		tell(fault, "acquired");
		pass_time(fault);
		/* Told while it is still held: a waiter must not look freed before the holder says so. */
		tell(fault, "released");
		fault->lock->give(fault);
	} else {
		pass_time(fault);
	}
	tell(fault, "end");
}

static void forget(struct fault *fault)
{
	if (fault->target)
		put_task_struct(fault->target);
	kfree(fault);
}

static int perform_in_thread(void *data)
{
	perform(data);
	forget(data);
	return 0;
}

/* --- the control file -------------------------------------------------------------------------------------------- */

static int parse_lock(struct fault *fault, char **rest)
{
	const char *name = strsep(rest, " ");
	struct pid *pid;
	unsigned int i, number;

	for (i = 0; i < ARRAY_SIZE(locks); i++)
		if (name && !strcmp(name, locks[i].name))
			fault->lock = &locks[i];
	if (!fault->lock)
		return -EINVAL;
	if (!fault->lock->wants_pid)
		return 0;
	if (!*rest || kstrtouint(strsep(rest, " "), 10, &number))
		return -EINVAL;
	pid = find_get_pid(number);
	fault->target = get_pid_task(pid, PIDTYPE_TGID);
	put_pid(pid);
	return fault->target ? 0 : -ESRCH;
}

/* The rest of the line, `SECONDS MANNER`, where the manner must be one of the verb's. */
static int parse_passing(struct fault *fault, char *rest, enum manner first, enum manner last)
{
	const char *seconds = strsep(&rest, " ");
	int manner;

	if (!rest || kstrtouint(seconds, 10, &fault->seconds) || !in_range(fault->seconds, 1, SECONDS_MAX + 1))
		return -EINVAL;
	manner = match_string(manners, ARRAY_SIZE(manners), rest);
	if (manner < (int)first || manner > (int)last)
		return -EINVAL;
	fault->manner = manner;
	return 0;
}

static int parse(struct fault *fault, char *line)
{
	const char *verb = strsep(&line, " ");
	int error;

	if (!line)
		return -EINVAL;
	if (!strcmp(verb, "park"))
		return parse_passing(fault, line, UNINTERRUPTIBLE, FLAP);
	if (!strcmp(verb, "spin"))
		return parse_passing(fault, line, PREEMPTIBLE, BURSTS);
	if (strcmp(verb, "hold"))
		return -EINVAL;
	error = parse_lock(fault, &line);
	return error ?: parse_passing(fault, line, SLEEP, DEBT);
}

static int launch(struct fault *fault, unsigned int cpu)
{
	struct task_struct *thread;

	if (cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -EINVAL;
	thread = kthread_create_on_node(perform_in_thread, fault, cpu_to_node(cpu), "stall_fault/%u", cpu);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	kthread_bind(thread, cpu);
	wake_up_process(thread);
	return 0;
}

static ssize_t fault_write(struct file *file, const char __user *text, size_t length, loff_t *at)
{
	static atomic_t last_id;
	char buffer[COMMAND_MAX] = {};
	char *line = buffer;
	unsigned int cpu = 0;
	bool in_thread;
	struct fault *fault;
	int error;

	if (length >= sizeof(buffer) || copy_from_user(buffer, text, length))
		return -EINVAL;
	line = strim(line);
	if (!strcmp(line, "release")) {
		complete_all(&released);
		return length;
	}
	fault = kzalloc(sizeof(*fault), GFP_KERNEL);
	if (!fault)
		return -ENOMEM;
	fault->id = atomic_inc_return(&last_id);
	strscpy(fault->command, line, sizeof(fault->command));
	in_thread = str_has_prefix(line, "thread ");
	if (in_thread) {
		strsep(&line, " ");
		error = kstrtouint(strsep(&line, " "), 10, &cpu);
		if (error || !line)
			goto refused;
	}
	error = parse(fault, line) ?: (in_thread ? launch(fault, cpu) : 0);
	if (error)
		goto refused;
	if (!in_thread) {
		perform(fault);
		forget(fault);
	}
	return length;

refused:
	forget(fault);
	return error ?: -EINVAL;
}

static int fault_open(struct inode *inode, struct file *file)
{
	return single_open(file, truth_show, NULL);
}

static const struct proc_ops fault_ops = {
	.proc_open = fault_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = fault_write,
	.proc_release = single_release,
};

static int __init fault_init(void)
{
	cgroup_mutex_address = find_cgroup_mutex();
	return proc_create("stall_fault", 0600, NULL, &fault_ops) ? 0 : -ENOMEM;
}

module_init(fault_init);
MODULE_DESCRIPTION("Makes stalls for the tests of stall_exporter");
MODULE_LICENSE("GPL");
