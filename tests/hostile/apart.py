"""Runs an attack in a process of its own."""

import multiprocessing
import os
import resource

from wire import Failed

ATTACK_SECONDS_MAX = 150
# Attackers are other people's machines: what they compute must not take the server's time.
NICENESS = 10
# Each client of an attack is a descriptor here.
DESCRIPTORS_WANTED = 6000


def apart(attack):
    """An attack on a target becomes one on a server, whose memory and time it does not share."""

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
            raise Failed("the attacker broke down") from error
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
        return pipe.send(("", f"the attackers need {DESCRIPTORS_WANTED} file descriptors, and may have {hard}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        pipe.send((attack(target), ""))
    except Failed as failure:
        pipe.send(("", str(failure)))
