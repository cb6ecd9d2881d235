// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/writer.hpp"

#include <string_view>

#include "config/member_json.hpp"
#include "config/text.hpp"
#include "options/members.hpp"

namespace headgate::detail {

namespace {

/// A document that grows line by line.
class document {
public:
    /// An object or an array while it is written.
    class scope {
    public:
        scope(document& out, char begin, char end) : out_(out), end_(end) {
            out_.text_ += begin;
            out_.empty_ = true;
            ++out_.depth_;
        }
        scope(const scope&) = delete;
        scope& operator=(const scope&) = delete;
        ~scope() = default;

        void close() {
            --out_.depth_;
            if (!out_.empty_) {
                out_.line();
            }
            out_.text_ += end_;
            out_.empty_ = false;
        }

    private:
        document& out_;
        char end_;
    };

    template <class Write>
    void object(const Write& write) {
        scope here(*this, '{', '}');
        write();
        here.close();
    }
    template <class Write>
    void array(const Write& write) {
        scope here(*this, '[', ']');
        write();
        here.close();
    }
    void name(std::string_view name) {
        item();
        single(json(name));
        text_ += ": ";
    }
    /// Before each member and element.
    void item() {
        if (!empty_) {
            text_ += ',';
        }
        line();
        empty_ = false;
    }
    void single(const json& value) { text_ += value.dump(-1, ' ', false, json::error_handler_t::replace); }

    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    void line() {
        text_ += '\n';
        text_.append(2 * depth_, ' ');
    }

    std::string text_;
    std::size_t depth_ = 0;
    bool empty_ = true;
};

template <class Value>
void member_of(document& out, std::string_view name, const Value& value) {
    out.name(name);
    out.single(json(value));
}

void write(document& out, const quota& q) {
    const bool window = q.algorithm() == quota_algorithm::fixed_window;
    if (q.is_none()) {
        out.single("none");
    } else if (!window && !q.is_at_most() && q.burst() == q.permits()) {
        out.single(std::to_string(q.permits()) + '/' + format_duration(q.period()));
    } else {
        out.object([&] {
            member_of(out, "permits", q.permits());
            member_of(out, "period", format_duration(q.period()));
            if (!window) {
                member_of(out, "burst", q.burst());
            }
            if (window || q.is_at_most()) {
                member_of(out, "algorithm", window ? "fixed_window" : "at_most");
            }
        });
    }
}

void write(document& out, const std::vector<quota>& quotas) {
    if (quotas.size() == 1) {
        write(out, quotas.front());
        return;
    }
    out.array([&] {
        for (const quota& q : quotas) {
            out.item();
            write(out, q);
        }
    });
}

void write(document& out, const std::vector<tier>& tiers) {
    if (tiers.size() == 1 && tiers.front().name == "default") {
        out.name("quota");
        write(out, tiers.front().quotas);
        return;
    }
    out.name("tiers");
    out.array([&] {
        for (const tier& t : tiers) {
            out.item();
            out.object([&] {
                member_of(out, "name", t.name);
                out.name("quota");
                write(out, t.quotas);
            });
        }
    });
}

void write(document& out, const std::optional<adaptive>& limit) {
    out.name("limit");
    if (!limit) {
        out.single(nullptr);
        return;
    }
    out.object([&] {
        for (const member& m : adaptive_members.members) {
            member_of(out, m.name, to_json(m, m.get(&*limit)));
        }
    });
}

template <class Options, std::size_t Size>
void write_group(document& out, std::string_view group_name, const std::map<std::string, Options>& group,
                 const member_table<Options, Size>& table) {
    out.name(group_name);
    out.object([&] {
        for (const auto& [name, options] : group) {
            out.name(name);
            out.object([&, &each = options] {
                for (const member& m : table.members) {
                    member_of(out, m.name, to_json(m, m.get(&each)));
                }
                if constexpr (requires { each.tiers; }) {
                    write(out, each.tiers);
                }
                if constexpr (requires { each.limit; }) {
                    write(out, each.limit);
                }
            });
        }
    });
}

void write(document& out, const zone_config& z) {
    out.object([&] {
        member_of(out, "missing_breaker", z.missing_breaker == missing_breaker::run ? "run" : "refuse");
        write_group(out, "rate_limiters", z.rate_limiters, limiter_members);
        write_group(out, "resource_pools", z.resource_pools, pool_members);
        write_group(out, "circuit_breakers", z.circuit_breakers, breaker_members);
        write_group(out, "bulkheads", z.bulkheads, bulkhead_members);
        write_group(out, "retries", z.retries, retry_members);
        write_group(out, "hedges", z.hedges, hedge_members);
        write_group(out, "coalescers", z.coalescers, coalescer_members);
    });
}

}  // namespace

std::string write(const config& c) {
    document out;
    out.object([&] {
        out.name("zones");
        out.object([&] {
            for (const auto& [name, z] : c.zones) {
                out.name(name);
                write(out, z);
            }
        });
    });
    return out.take();
}

}  // namespace headgate::detail
