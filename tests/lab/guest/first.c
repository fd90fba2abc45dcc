/*
 * first: process 1 of the guest. Starts the agent and reaps; on SIGUSR1 it makes and removes a control group, as
 * systemd does for every unit. It is a program of its own so that PID 1 can hang while the lab goes on.
 */
#include "fault.h"

#include <sys/stat.h>

#define SCOPE "/sys/fs/cgroup/first.scope"

int main(void)
{
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    sigaddset(&asked, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &asked, NULL) != 0)
        die("sigprocmask");
    pid_t agent = fork();
    if (agent < 0)
        die("fork");
    if (agent == 0) {
        sigprocmask(SIG_UNBLOCK, &asked, NULL);
        execl("/lab/agent", "agent", (char *)NULL);
        die("agent");
    }
    for (;;) {
        if (sigwaitinfo(&asked, NULL) == SIGUSR1) {
            mkdir(SCOPE, 0755);
            rmdir(SCOPE);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
