/*-------------------------------------------------------------------------
 *
 * health_events.h
 *	  Stores changes of health, tells them to listeners, and remembers them
 *	  across a restart.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_HEALTH_EVENTS_H
#define IMON_HEALTH_EVENTS_H

#include "check_states.h"

/*
 * Begins an evaluation, with the states of the last one or, after a start or a
 * promotion, with those that were stored before.  For the sampler only.  Needs a
 * transaction and a snapshot.
 */
extern ImonEvaluation *imon_begin_health_evaluation(void);

/*
 * Stores the changes that are not yet in health_events.  They count as stored
 * when the transaction commits.  For the sampler only, not on a standby.
 */
extern void imon_store_health_events(void);

/*
 * NOTIFY infra_monitor, once for each change that has been stored.  The same
 * conditions; nothing else should be in its transaction, as only its commit
 * shows whether there is room for it.
 */
extern void imon_notify_health_events(void);

/* Is there anything for these two to do? */
extern bool imon_health_events_pending(void);
extern bool imon_notifications_pending(void);

#endif							/* IMON_HEALTH_EVENTS_H */
