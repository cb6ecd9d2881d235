// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_HEADGATE_HPP
#define HEADGATE_HEADGATE_HPP

// Every public header of the library.
#include <headgate/adaptive.hpp>
#include <headgate/address_key.hpp>
#include <headgate/any_resource_pool.hpp>
#include <headgate/breaker_options.hpp>
#include <headgate/bulkhead.hpp>
#include <headgate/bulkhead_options.hpp>
#include <headgate/bulkhead_permit.hpp>
#include <headgate/busy_key.hpp>
#include <headgate/call_context.hpp>
#include <headgate/call_outcome.hpp>
#include <headgate/call_permit.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/coalescer.hpp>
#include <headgate/coalescer_options.hpp>
#include <headgate/config.hpp>
#include <headgate/config_object.hpp>
#include <headgate/config_problem.hpp>
#include <headgate/error.hpp>
#include <headgate/event.hpp>
#include <headgate/export.hpp>
#include <headgate/grant.hpp>
#include <headgate/guard.hpp>
#include <headgate/guard_options.hpp>
#include <headgate/hedge.hpp>
#include <headgate/hedge_options.hpp>
#include <headgate/key.hpp>
#include <headgate/latency.hpp>
#include <headgate/lease.hpp>
#include <headgate/limiter_options.hpp>
#include <headgate/member_table.hpp>
#include <headgate/operation.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/pool_snapshot.hpp>
#include <headgate/quota.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/result.hpp>
#include <headgate/retry.hpp>
#include <headgate/retry_options.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/spawn.hpp>
#include <headgate/take.hpp>
#include <headgate/time.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/wait_options.hpp>
#include <headgate/with_timeout.hpp>
#include <headgate/zone.hpp>
#include <headgate/zone_set.hpp>

#endif
