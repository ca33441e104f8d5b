"""A client asks a server process for one value at a time over a pipe. The cure asks for a thousand at a time."""

from common import CURED, FORK

QUESTIONS = 20_000
BATCH = 1000 if CURED else 1
ours, theirs = FORK.Pipe()


def serve():
    while True:
        numbers = theirs.recv()
        if numbers is None:
            return
        theirs.send([number * number % 7 for number in numbers])


server = FORK.Process(target=serve)
server.start()
total = 0
for begin in range(0, QUESTIONS, BATCH):
    ours.send(range(begin, begin + BATCH))
    total += sum(ours.recv())
ours.send(None)
server.join()
assert total == sum(number * number % 7 for number in range(QUESTIONS))
