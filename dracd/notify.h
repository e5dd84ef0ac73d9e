/*
 * notify: tells the service manager how the daemon is (sd_notify(3)); nothing
 * where there is none.
 */
#ifndef DRACD_NOTIFY_H
#define DRACD_NOTIFY_H

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
/* Once a second: feeds the watchdog, if there is one. */
void notify_alive(void);

#endif
