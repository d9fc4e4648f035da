/* SPDX-License-Identifier: MIT
 *
 * arch/hosted: per-CPU variables are thread variables, so each host thread has its own `current`. Another thread's
 * instance cannot be reached: per_cpu_ptr gives the caller's.
 */
#ifndef ARCH_PERCPU_IMPL_H
#define ARCH_PERCPU_IMPL_H

#define DEFINE_PER_CPU(type, name)  __thread __typeof__(type) name
#define DECLARE_PER_CPU(type, name) extern __thread __typeof__(type) name
#define this_cpu_ptr(p)             (p)
#define per_cpu_ptr(p, cpu)         ((void)(cpu), (p))
#define this_cpu_read_stable(v)     this_cpu_read(v)
#define this_cpu_read(name)         (name)
#define this_cpu_write(name, v)     ((void)((name) = (v)))
#define this_cpu_add(name, v)       ((void)((name) += (v)))

#endif
