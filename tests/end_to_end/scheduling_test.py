"""How the kernel schedules the threads of a server.

ATTENTION_SERVER comes from ctest.
"""

import concurrent.futures
import os
import unittest

import server_process

SERVER = os.environ["ATTENTION_SERVER"]


def policies_of_server():
    with server_process.running_server(SERVER) as (_, process):
        threads = os.listdir(f"/proc/{process.pid}/task")
        return {os.sched_getscheduler(int(thread)) for thread in threads}


class SchedulingTest(unittest.TestCase):

    def test_no_thread_interrupts_another(self):
        self.assertEqual(policies_of_server(), {os.SCHED_BATCH})

    def test_a_policy_of_whoever_starts_it_stays(self):
        # In a process of its own, which may not be allowed to go back.
        with concurrent.futures.ProcessPoolExecutor(
                1, initializer=os.sched_setscheduler,
                initargs=(0, os.SCHED_IDLE, os.sched_param(0))) as idle:
            self.assertEqual(idle.submit(policies_of_server).result(),
                             {os.SCHED_IDLE})


if __name__ == "__main__":
    unittest.main()
