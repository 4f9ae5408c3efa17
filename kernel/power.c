/* The orderly end: who may ask for it. The registers are in kernel/x86/reboot.c. */
#include "kernel/power.h"

#include "kernel/init.h"
#include "kernel/init_calls.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/softirq.h"
#include "kernel/time.h"
#include "kernel/x86/reboot.h"

static bool requested;
static u64 poweroff_after_ns; /* `poweroff=`; 0: never */
static struct hrtimer poweroff_timer;

static int __must_check set_poweroff(const char *val)
{
	u64 sec;

	if (!val || kstrtoull(val, 10, &sec) || sec == 0 || sec > 10000000)
		return -EINVAL;
	poweroff_after_ns = sec * NSEC_PER_SEC;
	return 0;
}
__setup("poweroff", set_poweroff);

void orderly_poweroff(void)
{
	WRITE_ONCE(requested, true);
}

bool poweroff_requested(void)
{
	return READ_ONCE(requested);
}

static void poweroff_timer_fn(struct hrtimer *t)
{
	(void)t;
	orderly_poweroff();
}

void power_init(void)
{
	acpi_power_button_init(orderly_poweroff);
	if (!poweroff_after_ns)
		return;
	hrtimer_setup(&poweroff_timer, poweroff_timer_fn);
	local_bh_disable();
	hrtimer_start(&poweroff_timer, ktime_get() + poweroff_after_ns);
	local_bh_enable();
}
