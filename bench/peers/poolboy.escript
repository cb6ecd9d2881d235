#!/usr/bin/env escript
%% Copyright (c) 2026 the headgate authors
%% Distributed under the Boost Software License, Version 1.0. See LICENSE.

%% Poolboy: a checkout and its checkin, alone, and with sixteen processes on one worker.
-mode(compile).
-export([start_link/1, init/1, handle_call/3, handle_cast/2]).

%% The worker.
start_link(Args) -> gen_server:start_link(?MODULE, Args, []).
init(_) -> {ok, none}.
handle_call(_, _, State) -> {reply, ok, State}.
handle_cast(_, State) -> {noreply, State}.

main(_) ->
    {ok, Pool} = pool(10),
    measure("peer/poolboy/checkout_checkin", 100000, fun(N) -> use(Pool, N) end),
    {ok, Single} = pool(1),
    measure("peer/poolboy/16_on_1", 64000, fun(N) -> contend(Single, N) end).

pool(Size) -> poolboy:start_link([{worker_module, ?MODULE}, {size, Size}, {max_overflow, 0}], []).

use(_, 0) -> ok;
use(Pool, N) ->
    Worker = poolboy:checkout(Pool, true, infinity),
    poolboy:checkin(Pool, Worker),
    use(Pool, N - 1).

contend(Pool, N) ->
    Parent = self(),
    Users = [spawn_link(fun() -> use(Pool, N div 16), Parent ! {done, self()} end) || _ <- lists:seq(1, 16)],
    [receive {done, User} -> ok end || User <- Users].

measure(Name, N, Body) ->
    Body(N),
    Runs = lists:sort([element(1, timer:tc(fun() -> Body(N) end)) * 1000 / N || _ <- lists:seq(1, 7)]),
    io:format("{\"name\": \"~s\", \"ns\": ~.1f, \"spread\": ~.1f}~n",
              [Name, lists:nth(4, Runs), lists:last(Runs) - hd(Runs)]).
