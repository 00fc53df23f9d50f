/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  Marks what other libraries cannot see, and other words to the compiler.
 *
 * An access to a symbol that others might replace takes a detour through two
 * tables.  Since 16 modules are compiled so that only what is called from SQL
 * can be seen; on 15 what each execution of a statement needs has to be marked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_INTERNAL_H
#define IMON_INTERNAL_H

#if defined(__GNUC__) && !defined(WIN32)
#define IMON_INTERNAL __attribute__((visibility("hidden")))
#else
#define IMON_INTERNAL
#endif

/*
 * What each execution of a statement needs of this process: side by side, so that
 * it is in few lines of the cache and few pages; that of IMON_HOT_LINE begins a line.
 * What is larger is behind it, and begins a line, too.  Functions are marked with
 * pg_attribute_hot for the same.
 */
#if defined(__GNUC__) && defined(__ELF__)
#define IMON_HOT_DATA __attribute__((section("imon_hot")))
#define IMON_HOT_LINE __attribute__((section("imon_hot"), aligned(64)))
#define IMON_HOT_LINES __attribute__((section("imon_hot_lines"), aligned(64)))
#else
#define IMON_HOT_DATA
#define IMON_HOT_LINE
#define IMON_HOT_LINES
#endif

/* Asks for memory that will be written to soon, and does not wait for it. */
#ifdef __GNUC__
#define imon_prefetch(address) __builtin_prefetch(address, 1)
#else
#define imon_prefetch(address) ((void) (address))
#endif

#endif							/* IMON_INTERNAL_H */
