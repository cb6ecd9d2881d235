// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "report.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <sstream>

namespace overload_sim {

namespace {

using row = std::vector<std::string>;

std::string number(double value, int digits, const char* unit = "") {
    if (!std::isfinite(value)) {
        return "never";
    }
    std::ostringstream out;
    out << std::fixed << std::setprecision(digits) << value << unit;
    return out.str();
}

void write_table(std::ostream& out, const std::vector<row>& rows, format how) {
    std::vector<std::size_t> widths(rows.front().size());
    for (const row& r : rows) {
        for (std::size_t i = 0; i < r.size(); ++i) {
            widths[i] = std::max(widths[i], r[i].size());
        }
    }
    const bool markdown = how == format::markdown;
    for (const row& r : rows) {
        out << (markdown ? "| " : "");
        for (std::size_t i = 0; i < r.size(); ++i) {
            out << (i == 0 ? std::left : std::right) << std::setw(static_cast<int>(widths[i])) << r[i]
                << (markdown ? (i + 1 < r.size() ? " | " : " |") : "  ");
        }
        out << '\n';
        if (markdown && &r == &rows.front()) {
            out << "|---|";
            for (std::size_t i = 1; i < r.size(); ++i) {
                out << "--:|";
            }
            out << '\n';
        }
    }
    out << '\n';
}

row heading(const comparison& c) {
    row out{"scenario"};
    for (const score& s : c.scores) {
        out.push_back(s.name);
    }
    return out;
}

template <class Cell>
std::vector<row> table(const std::vector<comparison>& all, Cell cell) {
    std::vector<row> out{heading(all.front())};
    for (const comparison& c : all) {
        row line{c.scenario};
        for (const score& s : c.scores) {
            line.push_back(cell(s));
        }
        out.push_back(line);
    }
    return out;
}

constexpr std::array colours = {"#9e9e9e", "#d0d0d0", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0050b0"};

}  // namespace

void write_tables(std::ostream& out, const std::vector<comparison>& all, format how) {
    std::vector<row> meaning{{"scenario", "what happens", "best fixed limit"}};
    for (const comparison& c : all) {
        meaning.push_back({c.scenario, c.what, std::to_string(c.best_fixed) + (c.clients > 1 ? " each" : "")});
    }
    write_table(out, meaning, how);
    out << "Goodput, over that of the best fixed limit of each phase:\n\n";
    write_table(out, table(all, [](const score& s) { return number(s.goodput, 3); }), how);
    out << "p99 of the calls let in, over that of one call at a time, in the worst phase:\n\n";
    write_table(out, table(all, [](const score& s) { return number(s.p99, 2); }), how);
    out << "Seconds until within 20 % of the optimum, in the worst phase:\n\n";
    write_table(out, table(all, [](const score& s) { return number(s.settle, 1); }), how);
    std::vector<comparison> shared;
    std::copy_if(all.begin(), all.end(), std::back_inserter(shared), [](const auto& c) { return c.clients > 1; });
    if (!shared.empty()) {
        out << "Jain's index of the clients' goodput:\n\n";
        write_table(out, table(shared, [](const score& s) { return number(s.jain, 3); }), how);
    }
}

void write_queues(std::ostream& out, const std::vector<queue_result>& all, format how) {
    std::vector<row> rows{{"queue", "goodput", "class 3", "class 2", "class 1", "class 0", "median wait", "p99 wait"}};
    for (const queue_result& q : all) {
        row line{q.name, number(q.goodput, 3)};
        for (auto share = q.answered.rbegin(); share != q.answered.rend(); ++share) {
            line.push_back(number(*share, 3));
        }
        for (const double at : {0.5, 0.99}) {
            line.push_back(number(std::chrono::duration<double, std::milli>(q.waited.quantile(at)).count(), 1, " ms"));
        }
        rows.push_back(line);
    }
    out << "A queue before 50 places, 3 times the capacity for a minute, callers that give up after a second: answers\n"
           "in time over the capacity, share of the calls of each class that got one, waits of those that got a "
           "place:\n\n";
    write_table(out, rows, how);
}

void write_chart(std::ostream& out, const std::vector<comparison>& all) {
    constexpr int left = 120, wide = 560, line = 24, top = 48;
    const int height = top + line * static_cast<int>(all.size()) + 28;
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << left + wide + 30 << ' ' << height
        << "\" font-family=\"sans-serif\" font-size=\"11\">\n<title>Goodput over that of the optimum</title>\n";
    const std::vector<score>& names = all.front().scores;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const int x = 20 + static_cast<int>(i) * (left + wide - 10) / static_cast<int>(names.size());
        out << "<circle cx=\"" << x << "\" cy=\"16\" r=\"5\" fill=\"" << colours[i % colours.size()] << "\"/><text x=\""
            << x + 8 << "\" y=\"20\">" << names[i].name << "</text>\n";
    }
    const int bottom = top + line * static_cast<int>(all.size());
    for (int tenths = 0; tenths <= 10; tenths += 2) {
        const int x = left + wide * tenths / 10;
        out << "<line x1=\"" << x << "\" x2=\"" << x << "\" y1=\"" << top - 12 << "\" y2=\"" << bottom
            << "\" stroke=\"#ddd\"/><text x=\"" << x << "\" y=\"" << bottom + 16 << "\" text-anchor=\"middle\">"
            << number(tenths / 10.0, 1) << "</text>\n";
    }
    for (std::size_t r = 0; r < all.size(); ++r) {
        const int y = top + line * static_cast<int>(r);
        out << "<text x=\"" << left - 10 << "\" y=\"" << y + 4 << "\" text-anchor=\"end\">" << all[r].scenario
            << "</text>\n";
        for (std::size_t i = 0; i < all[r].scores.size(); ++i) {
            const double x = left + wide * std::clamp(all[r].scores[i].goodput, 0.0, 1.02);
            out << "<circle cx=\"" << number(x, 1) << "\" cy=\"" << y << "\" r=\"5\" fill=\""
                << colours[i % colours.size()] << "\" fill-opacity=\"0.85\"/>\n";
        }
    }
    out << "</svg>\n";
}

}  // namespace overload_sim
