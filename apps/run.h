/*
 * The apps' runner, as kernel/main.c sees it. Task context, once, between the drivers and
 * lwip_stack_start().
 */
#ifndef APPS_RUN_H
#define APPS_RUN_H

/* Calls the init function of each app that `app=` names (all of them by default). */
void apps_init(void);

#endif
