/* SPDX-License-Identifier: Apache-2.0
 * cpu - who waits for whom where threads share processors.
 *
 * Threads: each asks for itself.
 * Bounds:  CPU_SHORT_US is the least that the kernel takes.
 */
#ifndef NJ_BASE_CPU_H
#define NJ_BASE_CPU_H

/* For who answers others. */
#define CPU_SHORT_US 100u

/* How long this thread wants to run at a stretch.  It gets no more and no less of a
 * processor by that.  One that wakes and asks for less than the one that runs takes
 * its place at once (Linux 6.12; an older kernel, or one that must not be
 * asked, goes on as it did). */
void cpu_stretch(unsigned us);

#endif
