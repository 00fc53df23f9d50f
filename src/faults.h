/*-------------------------------------------------------------------------
 *
 * faults.h
 *	  Faults for tests: allocations that fail, writers that take long.
 *
 * Only "make FAULTS=1" has them.  It includes this file before all else in every
 * source, which know nothing about it: what they call by these names is a macro
 * then, that asks for a fault first.  A macro is not expanded within itself, so
 * what it calls is PostgreSQL's function.  Headers with the declarations come
 * first.
 *
 * Each place that can fail is an element of a section of the library, which is
 * an array of all of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IMON_FAULTS_H
#define IMON_FAULTS_H

#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

/* A place in the source that can fail. */
typedef struct ImonFaultSite
{
	const char *file;
	const char *call;
	int			line;
}			pg_attribute_aligned(32)
ImonFaultSite;

/*
 * Is the fault that is asked for due here?  Raised then, if it is one that
 * raises an error.
 */
extern bool imon_fault_is_due(const ImonFaultSite *site, bool raises);

/* Takes as long as a writer is asked to. */
extern void imon_delay_writer(void);

/* Waits here if that is asked for, until it is no longer. */
extern void imon_pause(const char *file);

/* Defines what asks for faults.  Called in _PG_init. */
extern void imon_faults_init(void);

#define IMON_SITE(name) \
	({ \
		static ImonFaultSite fault_site \
			__attribute__((section("imon_fault_sites"), used)) = \
			{__FILE__, name, __LINE__}; \
		&fault_site; \
	})
#define IMON_FAIL(name) (void) imon_fault_is_due(IMON_SITE(name), true)

/* What raises an error if there is no memory. */
#undef AllocSetContextCreate
#undef appendStringInfoCharMacro
#define AllocSetContextCreate(...) \
	(IMON_FAIL("AllocSetContextCreate"), AllocSetContextCreateInternal(__VA_ARGS__))
#define BeginInternalSubTransaction(...) \
	(IMON_FAIL("BeginInternalSubTransaction"), BeginInternalSubTransaction(__VA_ARGS__))
#define CopyErrorData(...) \
	(IMON_FAIL("CopyErrorData"), CopyErrorData(__VA_ARGS__))
#define DirectFunctionCall1Coll(...) \
	(IMON_FAIL("DirectFunctionCall1"), DirectFunctionCall1Coll(__VA_ARGS__))
#define DirectFunctionCall2Coll(...) \
	(IMON_FAIL("DirectFunctionCall2"), DirectFunctionCall2Coll(__VA_ARGS__))
#define GetUserNameFromId(...) \
	(IMON_FAIL("GetUserNameFromId"), GetUserNameFromId(__VA_ARGS__))
#define InitMaterializedSRF(...) \
	(IMON_FAIL("InitMaterializedSRF"), InitMaterializedSRF(__VA_ARGS__))
#define MemoryContextAlloc(...) \
	(IMON_FAIL("MemoryContextAlloc"), MemoryContextAlloc(__VA_ARGS__))
#define MemoryContextAllocHuge(...) \
	(IMON_FAIL("MemoryContextAllocHuge"), MemoryContextAllocHuge(__VA_ARGS__))
#define MemoryContextAllocZero(...) \
	(IMON_FAIL("MemoryContextAllocZero"), MemoryContextAllocZero(__VA_ARGS__))
#define MemoryContextStrdup(...) \
	(IMON_FAIL("MemoryContextStrdup"), MemoryContextStrdup(__VA_ARGS__))
#define RegisterDynamicBackgroundWorker(...) \
	(IMON_FAIL("RegisterDynamicBackgroundWorker"), RegisterDynamicBackgroundWorker(__VA_ARGS__))
#define RegisterSubXactCallback(...) \
	(IMON_FAIL("RegisterSubXactCallback"), RegisterSubXactCallback(__VA_ARGS__))
#define RegisterXactCallback(...) \
	(IMON_FAIL("RegisterXactCallback"), RegisterXactCallback(__VA_ARGS__))
#define SPI_connect() \
	(IMON_FAIL("SPI_connect"), SPI_connect())
#define SPI_getvalue(...) \
	(IMON_FAIL("SPI_getvalue"), SPI_getvalue(__VA_ARGS__))
#define SPI_keepplan(...) \
	(IMON_FAIL("SPI_keepplan"), SPI_keepplan(__VA_ARGS__))
#define SPI_prepare(...) \
	(IMON_FAIL("SPI_prepare"), SPI_prepare(__VA_ARGS__))
#define StartTransactionCommand() \
	(IMON_FAIL("StartTransactionCommand"), StartTransactionCommand())
#define appendBinaryStringInfo(...) \
	(IMON_FAIL("appendBinaryStringInfo"), appendBinaryStringInfo(__VA_ARGS__))
#define appendStringInfo(...) \
	(IMON_FAIL("appendStringInfo"), appendStringInfo(__VA_ARGS__))
#define appendStringInfoChar(...) \
	(IMON_FAIL("appendStringInfoChar"), appendStringInfoChar(__VA_ARGS__))
#define appendStringInfoCharMacro(...)	appendStringInfoChar(__VA_ARGS__)
#define appendStringInfoString(...) \
	(IMON_FAIL("appendStringInfoString"), appendStringInfoString(__VA_ARGS__))
#define construct_array(...) \
	(IMON_FAIL("construct_array"), construct_array(__VA_ARGS__))
#define cstring_to_text(...) \
	(IMON_FAIL("cstring_to_text"), cstring_to_text(__VA_ARGS__))
#define cstring_to_text_with_len(...) \
	(IMON_FAIL("cstring_to_text_with_len"), cstring_to_text_with_len(__VA_ARGS__))
#define deconstruct_array(...) \
	(IMON_FAIL("deconstruct_array"), deconstruct_array(__VA_ARGS__))
#define dsm_attach(...) \
	(IMON_FAIL("dsm_attach"), dsm_attach(__VA_ARGS__))
#define dsm_create(...) \
	(IMON_FAIL("dsm_create"), dsm_create(__VA_ARGS__))
#define enlargeStringInfo(...) \
	(IMON_FAIL("enlargeStringInfo"), enlargeStringInfo(__VA_ARGS__))
#define escape_json(...) \
	(IMON_FAIL("escape_json"), escape_json(__VA_ARGS__))
#define get_database_name(...) \
	(IMON_FAIL("get_database_name"), get_database_name(__VA_ARGS__))
#define hash_create(...) \
	(IMON_FAIL("hash_create"), hash_create(__VA_ARGS__))
#define heap_form_tuple(...) \
	(IMON_FAIL("heap_form_tuple"), heap_form_tuple(__VA_ARGS__))
#define initStringInfo(...) \
	(IMON_FAIL("initStringInfo"), initStringInfo(__VA_ARGS__))
#define lappend(...) \
	(IMON_FAIL("lappend"), lappend(__VA_ARGS__))
#define list_concat(...) \
	(IMON_FAIL("list_concat"), list_concat(__VA_ARGS__))
#define list_copy_tail(...) \
	(IMON_FAIL("list_copy_tail"), list_copy_tail(__VA_ARGS__))
#define list_make2_impl(...) \
	(IMON_FAIL("list_make2"), list_make2_impl(__VA_ARGS__))
#define palloc(...) \
	(IMON_FAIL("palloc"), palloc(__VA_ARGS__))
#define palloc0(...) \
	(IMON_FAIL("palloc0"), palloc0(__VA_ARGS__))
#define pnstrdup(...) \
	(IMON_FAIL("pnstrdup"), pnstrdup(__VA_ARGS__))
#define pq_begintypsend(...) \
	(IMON_FAIL("pq_begintypsend"), pq_begintypsend(__VA_ARGS__))
#define pq_sendbytes(...) \
	(IMON_FAIL("pq_sendbytes"), pq_sendbytes(__VA_ARGS__))
#define psprintf(...) \
	(IMON_FAIL("psprintf"), psprintf(__VA_ARGS__))
#define pstrdup(...) \
	(IMON_FAIL("pstrdup"), pstrdup(__VA_ARGS__))
#define quote_identifier(...) \
	(IMON_FAIL("quote_identifier"), quote_identifier(__VA_ARGS__))
#define quote_literal_cstr(...) \
	(IMON_FAIL("quote_literal_cstr"), quote_literal_cstr(__VA_ARGS__))
#define quote_qualified_identifier(...) \
	(IMON_FAIL("quote_qualified_identifier"), quote_qualified_identifier(__VA_ARGS__))
#define repalloc(...) \
	(IMON_FAIL("repalloc"), repalloc(__VA_ARGS__))
#define repalloc_huge(...) \
	(IMON_FAIL("repalloc_huge"), repalloc_huge(__VA_ARGS__))
#define text_to_cstring(...) \
	(IMON_FAIL("text_to_cstring"), text_to_cstring(__VA_ARGS__))
#define tuplestore_putvalues(...) \
	(IMON_FAIL("tuplestore_putvalues"), tuplestore_putvalues(__VA_ARGS__))

/* The same, unless asked to look for what is there, or to return NULL. */
#define hash_search(table, key, action, found) \
	((action) == HASH_ENTER ? IMON_FAIL("hash_search") : (void) 0, \
	 hash_search(table, key, action, found))
#define MemoryContextAllocExtended(context, size, flags) \
	(imon_fault_is_due(IMON_SITE("MemoryContextAllocExtended"), \
					   ((flags) & MCXT_ALLOC_NO_OOM) == 0) ? NULL : \
	 MemoryContextAllocExtended(context, size, flags))

/* Statements, which may also take long in a writer. */
#define SPI_execute(...) \
	(IMON_FAIL("SPI_execute"), imon_delay_writer(), SPI_execute(__VA_ARGS__))
#define SPI_execute_plan(...) \
	(IMON_FAIL("SPI_execute_plan"), imon_delay_writer(), SPI_execute_plan(__VA_ARGS__))
#define SPI_execute_with_args(...) \
	(IMON_FAIL("SPI_execute_with_args"), imon_delay_writer(), \
	 SPI_execute_with_args(__VA_ARGS__))
#define SPI_cursor_fetch(...) \
	(IMON_FAIL("SPI_cursor_fetch"), SPI_cursor_fetch(__VA_ARGS__))
#define SPI_cursor_open_with_args(...) \
	(IMON_FAIL("SPI_cursor_open_with_args"), SPI_cursor_open_with_args(__VA_ARGS__))

/* Where what was written without a lock is shown to readers. */
#undef pg_write_barrier
#define pg_write_barrier() \
	do { \
		imon_pause(__FILE__); \
		pg_write_barrier_impl(); \
	} while (0)

/* The sampler is back at once: a test ends it often. */
#define RegisterBackgroundWorker(worker) \
	((worker)->bgw_restart_time = 0, RegisterBackgroundWorker(worker))

/* What is called once, where parameters are defined. */
#define MarkGUCPrefixReserved(prefix) \
	(imon_faults_init(), MarkGUCPrefixReserved(prefix))

#endif							/* IMON_FAULTS_H */
