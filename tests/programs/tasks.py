"""A Celery application over a broker that is a folder: $TASKS_FOLDER. Once the worker is ready it sends itself $TASKS_NUMBER
tasks, which work in a known proportion and leave a file named after the process and themselves in the folder `done`.
"""

import os

from celery import Celery
from celery.signals import worker_ready

from rounds import rounds

folder = os.environ["TASKS_FOLDER"]
queue, done = os.path.join(folder, "queue"), os.path.join(folder, "done")
for each in (queue, done):
    os.makedirs(each, exist_ok=True)
options = {"data_folder_in": queue, "data_folder_out": queue, "control_folder": os.path.join(folder, "control")}
app = Celery("tasks", broker="filesystem://")
app.conf.update(broker_transport_options=options, worker_prefetch_multiplier=1, task_ignore_result=True)


@app.task(name="work")
def work(number):
    rounds(100)
    open(os.path.join(done, "%d-%d" % (os.getpid(), number)), "w").close()


@worker_ready.connect
def send(**_):
    for number in range(int(os.environ["TASKS_NUMBER"])):
        work.delay(number)
