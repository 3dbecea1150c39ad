"""Runs an attack in a separate process."""

import multiprocessing
import os
import resource

from wire import Failed

ATTACK_SECONDS_MAX = 150
# Real attackers use their own machines, so their work must not take processor time from the server.
NICENESS = 10
# One for each client of an attack.
DESCRIPTORS_WANTED = 6000


def apart(attack):
    """Turns an attack on a target into one on a server, run in a separate process."""

    def run(server, _google):
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(target=work, args=[theirs, attack, server.target])
        child.start()
        theirs.close()
        try:
            if not ours.poll(ATTACK_SECONDS_MAX):
                raise Failed(f"the attack did not end within {ATTACK_SECONDS_MAX} s")
            result, failure = ours.recv()
        except EOFError as error:
            raise Failed("the attacking process crashed") from error
        finally:
            child.kill()
            child.join()
        if failure:
            raise Failed(failure)
        return result

    return run


def work(pipe, attack, target):
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS_WANTED:
        return pipe.send(("", f"the attackers need {DESCRIPTORS_WANTED} file descriptors, but the hard limit is {hard}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        pipe.send((attack(target), ""))
    except Failed as failure:
        pipe.send(("", str(failure)))
