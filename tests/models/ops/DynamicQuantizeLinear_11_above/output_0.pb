By0J
ЂxШягТiХze