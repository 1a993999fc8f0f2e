"""What the programs that hold a Python run: tells that it is ready, then computes until standard input is closed."""

import sys
import threading


def read_to_the_end():
    sys.stdin.read()


def busy_with_orders(reader):
    while reader.is_alive():
        add_up()


def add_up():
    total = 0
    for number in range(1000):
        total += number
    return total


def main():
    reader = threading.Thread(target=read_to_the_end, name="reader", daemon=True)
    reader.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    busy_with_orders(reader)


if __name__ == "__main__":
    main()
